PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _aerostack_meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO _aerostack_meta VALUES('epoch','0842936225cb4ba4');
INSERT INTO _aerostack_meta VALUES('high_water',1795926522672290);
INSERT INTO _aerostack_meta VALUES('inode','9994466');
INSERT INTO _aerostack_meta VALUES('opened',1795926512605);
CREATE TABLE _aerostack_changes(id INTEGER PRIMARY KEY AUTOINCREMENT, layout, op, at, o0, n0, o1, n1);
INSERT INTO _aerostack_changes VALUES(1,1,1,1795926512979,NULL,1,NULL,9.5);
INSERT INTO _aerostack_changes VALUES(2,1,2,1795926512983,1,1,9.5,10.0);
CREATE TABLE _aerostack_replaced(id INTEGER PRIMARY KEY, layout, moving, o0, o1, k0);
CREATE TABLE _aerostack_layouts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, columns TEXT NOT NULL);
INSERT INTO _aerostack_layouts VALUES(1,'orders','["id", "total"]');
CREATE TABLE _aerostack_watched(
  name TEXT PRIMARY KEY, layout INTEGER, start INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO _aerostack_watched VALUES('orders',1,0);
CREATE TABLE _aerostack_messages(
  topic TEXT NOT NULL, created_at INTEGER NOT NULL, position INTEGER NOT NULL,
  id TEXT NOT NULL, user_id TEXT NOT NULL, event TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(topic, created_at)) WITHOUT ROWID;
INSERT INTO _aerostack_messages VALUES('chat/1/default',1795926512967,1795926512966303,'AoM3oRQICNOiucQ6kf7q0w','','message',X'7b226e223a317d');
INSERT INTO _aerostack_messages VALUES('chat/1/default',1795926512969,1795926512968782,'_t3x3aLMgmm5ja5JwZE41w','','message',X'7b226e223a327d');
INSERT INTO _aerostack_messages VALUES('chat/1/default',1795926512970,1795926512970332,'HG4WsH7ULO3QgGWat2G8IQ','','message',X'7b226e223a337d');
INSERT INTO _aerostack_messages VALUES('chat/1/default',1795926512975,1795926512975749,'Uc5kSTMIzzpnF7igOALlLQ','','message',X'7b226e223a347d');
CREATE TABLE _aerostack_kept(
  kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(kind, key)) WITHOUT ROWID;
INSERT INTO _aerostack_kept VALUES('revocation','user:mallory','{"kind":"user","subject":"mallory","at":1795926512.9912698,"until":1830486512.9912698}');
CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL);
INSERT INTO orders VALUES(1,10.0);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('_aerostack_layouts',1);
INSERT INTO sqlite_sequence VALUES('_aerostack_changes',2);
CREATE UNIQUE INDEX _aerostack_messages_by_id ON _aerostack_messages(topic, user_id, id);
CREATE TRIGGER "_aerostack_1_delete" AFTER DELETE ON "orders" FOR EACH ROW BEGIN
  DELETE FROM _aerostack_replaced WHERE layout = 1 AND OLD."rowid" = _aerostack_replaced.k0;
  INSERT INTO _aerostack_changes(layout, op, at, o0, o1) VALUES(1, 3, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER), (SELECT (SELECT OLD."id") FROM (SELECT NULL AS "id") AS OLD), (SELECT (SELECT OLD."total") FROM (SELECT NULL AS "total") AS OLD));
END;
CREATE TRIGGER "_aerostack_1_before_insert" BEFORE INSERT ON "orders" FOR EACH ROW WHEN ((SELECT (SELECT (SELECT r."rowid" FROM "orders" AS r WHERE r."rowid" = NEW."rowid") FROM (SELECT NULL AS "id", NULL AS "total") AS NEW) FROM (SELECT NULL AS "id", NULL AS "total") AS r) IS NOT NULL OR EXISTS (SELECT 1 FROM _aerostack_replaced)) BEGIN
  DELETE FROM _aerostack_replaced WHERE layout = 1 AND EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = _aerostack_replaced.k0);
  INSERT INTO _aerostack_replaced(layout, moving, k0, o0, o1) SELECT 1, 0, c.k0, (SELECT r."id" FROM "orders" AS r WHERE r."rowid" = c.k0), (SELECT r."total" FROM "orders" AS r WHERE r."rowid" = c.k0) FROM (SELECT (SELECT (SELECT (SELECT r."rowid" FROM "orders" AS r WHERE r."rowid" = NEW."rowid") FROM (SELECT NULL AS "id", NULL AS "total") AS NEW) FROM (SELECT NULL AS "id", NULL AS "total") AS r) AS k0) AS c, (SELECT NULL AS "id", NULL AS "total") AS r WHERE c.k0 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM _aerostack_replaced AS p WHERE p.layout = 1 AND p.k0 = c.k0);
END;
CREATE TRIGGER "_aerostack_1_before_update" BEFORE UPDATE ON "orders" FOR EACH ROW WHEN ((SELECT (SELECT NEW."rowid") FROM (SELECT NULL AS "rowid") AS NEW) IS NOT (SELECT (SELECT OLD."rowid") FROM (SELECT NULL AS "rowid") AS OLD)) AND ((SELECT (SELECT (SELECT r."rowid" FROM "orders" AS r WHERE r."rowid" = NEW."rowid") FROM (SELECT NULL AS "id", NULL AS "total") AS NEW) FROM (SELECT NULL AS "id", NULL AS "total") AS r) IS NOT NULL OR EXISTS (SELECT 1 FROM _aerostack_replaced)) BEGIN
  DELETE FROM _aerostack_replaced WHERE layout = 1 AND EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = _aerostack_replaced.k0);
  INSERT INTO _aerostack_replaced(layout, moving, k0, o0, o1) SELECT 1, 1, c.k0, (SELECT r."id" FROM "orders" AS r WHERE r."rowid" = c.k0), (SELECT r."total" FROM "orders" AS r WHERE r."rowid" = c.k0) FROM (SELECT (SELECT (SELECT (SELECT r."rowid" FROM "orders" AS r WHERE r."rowid" = NEW."rowid") FROM (SELECT NULL AS "id", NULL AS "total") AS NEW) FROM (SELECT NULL AS "id", NULL AS "total") AS r) AS k0) AS c, (SELECT NULL AS "id", NULL AS "total") AS r WHERE c.k0 IS NOT NULL AND NOT (OLD."rowid" = c.k0) AND NOT EXISTS (SELECT 1 FROM _aerostack_replaced AS p WHERE p.layout = 1 AND p.k0 = c.k0);
END;
CREATE TRIGGER "_aerostack_1_update" AFTER UPDATE ON "orders" FOR EACH ROW BEGIN
  INSERT INTO _aerostack_changes(layout, op, at, o0, o1) SELECT 1, 3, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER), p.o0, p.o1 FROM _aerostack_replaced AS p WHERE p.layout = 1 AND p.moving = 1 AND ((NEW."rowid" = p.k0 AND NOT (OLD."rowid" = NEW."rowid")) OR NOT EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = p.k0)) AND ((SELECT (SELECT NEW."rowid") FROM (SELECT NULL AS "rowid") AS NEW) IS NOT (SELECT (SELECT OLD."rowid") FROM (SELECT NULL AS "rowid") AS OLD)) ORDER BY p.id;
  DELETE FROM _aerostack_replaced WHERE _aerostack_replaced.layout = 1 AND _aerostack_replaced.moving = 1 AND ((NEW."rowid" = _aerostack_replaced.k0 AND NOT (OLD."rowid" = NEW."rowid")) OR NOT EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = _aerostack_replaced.k0)) AND ((SELECT (SELECT NEW."rowid") FROM (SELECT NULL AS "rowid") AS NEW) IS NOT (SELECT (SELECT OLD."rowid") FROM (SELECT NULL AS "rowid") AS OLD));
  INSERT INTO _aerostack_changes(layout, op, at, o0, o1, n0, n1) VALUES(1, 2, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER), (SELECT (SELECT OLD."id") FROM (SELECT NULL AS "id") AS OLD), (SELECT (SELECT OLD."total") FROM (SELECT NULL AS "total") AS OLD), (SELECT (SELECT NEW."id") FROM (SELECT NULL AS "id") AS NEW), (SELECT (SELECT NEW."total") FROM (SELECT NULL AS "total") AS NEW));
END;
CREATE TRIGGER "_aerostack_1_insert" AFTER INSERT ON "orders" FOR EACH ROW BEGIN
  INSERT INTO _aerostack_changes(layout, op, at, o0, o1) SELECT 1, 3, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER), p.o0, p.o1 FROM _aerostack_replaced AS p WHERE p.layout = 1 AND p.moving = 0 AND ((NEW."rowid" = p.k0) OR NOT EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = p.k0)) ORDER BY p.id;
  DELETE FROM _aerostack_replaced WHERE _aerostack_replaced.layout = 1 AND _aerostack_replaced.moving = 0 AND ((NEW."rowid" = _aerostack_replaced.k0) OR NOT EXISTS (SELECT 1 FROM "orders" AS r WHERE r."rowid" = _aerostack_replaced.k0));
  INSERT INTO _aerostack_changes(layout, op, at, n0, n1) VALUES(1, 1, CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER), (SELECT (SELECT NEW."id") FROM (SELECT NULL AS "id") AS NEW), (SELECT (SELECT NEW."total") FROM (SELECT NULL AS "total") AS NEW));
END;
COMMIT;
