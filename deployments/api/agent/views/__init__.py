"""One module per noun; each view parses, authorises, and calls one service or selector."""
