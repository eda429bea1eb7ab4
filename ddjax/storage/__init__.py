"""Files, locks, checkpoints, manifests and result rows on disk.

Orbax is not used, because all state is replicated across hosts: process 0 alone writes, and sends what it reads to the
other processes, so nothing has to be sharded on disk. The same few lines (`manifest`) also store distilled sets,
reports, cached data sets and expert buffers, which are not training states and must be readable without a pytree.
"""
