"""The journal on Redis or Valkey: one stream per cluster, which every node appends to and reads.

address     the URL                          connection  one connection; nothing is ever retried
login       what a server has to be          sentinels   which server is the master, by a majority
scripts     the steps that run in Redis      session     from an address to a server in a generation
appender    what waits, batches, order       tail        reads, each handled as it arrives
reader      entries to items, broken logs    window      how much of the log Redis holds
journal     the engine: backplane.base.Journal
settings    how a node uses it
"""
