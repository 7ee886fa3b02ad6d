"""What the feed reads from PostgreSQL's catalogs about watched tables: the statements."""

from typing import Final

PUBLISHED: Final = """(
  pub.puballtables OR EXISTS (
    SELECT FROM pg_publication_rel r WHERE r.prpubid = pub.oid
    AND (r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))))
  OR EXISTS (
    SELECT FROM pg_publication_tables t WHERE t.pubname = pub.pubname
    AND t.schemaname = n.nspname AND t.tablename = c.relname))
"""
"""Whether the table `c` of the schema `n` is in the publication `pub`: on its own, with its partitioned table, or
with its schema."""

WATCHED: Final = f"""
SELECT w.schema_name, w.table_name, w.relation, w.since, c.oid, c.relreplident = 'f' AND NOT EXISTS (
         SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid
         WHERE t.isleaf AND l.relreplident <> 'f') AND {PUBLISHED},
       ARRAY(SELECT relid::oid::int8 FROM pg_partition_tree(c.oid)),
       COALESCE((SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.attgenerated = ANY(%(generated)s::"char"[])), '{{}}'),
       COALESCE((SELECT array_agg(a.atttypid::int8 ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.attgenerated = ANY(%(generated)s::"char"[])), '{{}}')
FROM aerostack.watches w
LEFT JOIN pg_class c ON c.oid = to_regclass(
  CASE WHEN w.schema_name = '' THEN '' ELSE quote_ident(w.schema_name) || '.' END || quote_ident(w.table_name))
  AND c.relkind IN ('r', 'p')
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication pub ON pub.pubname = %(publication)s
"""

NOTE: Final = """
UPDATE aerostack.watches w SET files = now.files, definitions = now.definitions, types = now.types,
  since = CASE WHEN EXISTS (SELECT FROM jsonb_each(w.files) o JOIN jsonb_each(now.files) n USING (key)
                            WHERE o.value <> n.value)
                AND EXISTS (SELECT FROM jsonb_each(w.definitions) o JOIN jsonb_each(now.definitions) n USING (key)
                            WHERE o.value <> n.value)
                OR EXISTS (SELECT FROM jsonb_each(w.types) o JOIN jsonb_each(now.types) n USING (key)
                           WHERE o.value <> n.value)
                OR (SELECT jsonb_agg(key) FROM jsonb_object_keys(w.files) key)
                <> (SELECT jsonb_agg(key) FROM jsonb_object_keys(now.files) key)
          THEN pg_current_wal_insert_lsn() ELSE w.since END
FROM (
  SELECT relation,
         (SELECT jsonb_object_agg(l.oid, l.relfilenode) FROM pg_class l
          WHERE l.oid = relation OR l.oid IN (SELECT relid FROM pg_partition_tree(relation))) AS files,
         (SELECT jsonb_object_agg(a.attnum, a.xmin) FROM pg_attribute a
          WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped) AS definitions,
         (WITH RECURSIVE needed(oid) AS (
              SELECT a.atttypid FROM pg_attribute a
              WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
            UNION
              SELECT part.oid FROM needed JOIN pg_type t ON t.oid = needed.oid, LATERAL (
                SELECT t.typelem AS oid UNION SELECT t.typbasetype
                UNION SELECT a.atttypid FROM pg_attribute a
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
              ) part WHERE part.oid >= 16384
          )
          SELECT jsonb_object_agg(key, value) FROM (
            SELECT t.oid AS key, to_jsonb(ARRAY(
              SELECT a.attnum || ':' || a.atttypid || ':' || a.attname FROM pg_attribute a
              WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)) AS value
            FROM needed JOIN pg_type t USING (oid) WHERE t.typtype = 'c'
            UNION ALL
            SELECT e.oid, to_jsonb(e.enumlabel::text) FROM needed JOIN pg_enum e ON e.enumtypid = needed.oid
          ) described) AS types
  FROM aerostack.watches
) now
WHERE w.relation = now.relation
AND (w.files, w.definitions, w.types) IS DISTINCT FROM (now.files, now.definitions, now.types)
"""
"""Records how each watched table is stored and how its values print, and raises `since` where rows changed without
an entry in the WAL.

ALTER TABLE writes a new file when it gives a column another type, or the same one USING other values: then every
row changes. VACUUM FULL, CLUSTER and TRUNCATE write a new file, too, but leave each column's definition as it is.
Partitions that are attached or detached add and remove rows. ALTER TYPE changes how rows print that have a value
of the type: a composite's attributes, by their numbers, or an enum's label, by its OID. The OIDs of users' types
begin at 16384.
"""

FIND: Final = f"""
SELECT c.oid, c.relkind, c.relpersistence, n.nspname, c.relname, {PUBLISHED}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication pub ON pub.pubname = %(publication)s
WHERE c.oid = to_regclass(%(name)s)
"""
