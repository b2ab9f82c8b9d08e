"""The contract between control plane and node: messages, their bytes, and who signed them.

The control plane imports this package and nothing else of the agent. Messages are frozen dataclasses that `decode`
reads strictly (exact members, exact types, no duplicates) and `encode` writes; envelopes say who vouches for them.
Unless a field says otherwise, times are integers in Unix seconds and digests are `sha256:HEX`.
"""
