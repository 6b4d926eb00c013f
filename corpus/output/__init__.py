"""The artifact of the corpus stage.

write.py    documents, decisions, clusters and keys of one shard
account.py  in = kept + dropped by reason, for each source
notice.py   NOTICE: licences and attributions
"""
