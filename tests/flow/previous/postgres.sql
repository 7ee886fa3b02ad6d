SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA aerostack;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE aerostack.epochs (
    id text NOT NULL,
    began timestamp with time zone DEFAULT now(),
    lsn pg_lsn NOT NULL,
    timeline integer NOT NULL,
    "position" bigint NOT NULL
);
CREATE TABLE aerostack.generations (
    number bigint NOT NULL,
    server text NOT NULL,
    start bigint NOT NULL,
    began timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE aerostack.journal (
    only_row boolean DEFAULT true NOT NULL,
    generation bigint NOT NULL,
    cluster text NOT NULL,
    CONSTRAINT journal_only_row_check CHECK (only_row)
);
CREATE TABLE aerostack.kept (
    kind text NOT NULL,
    key text NOT NULL,
    value text NOT NULL
);
CREATE TABLE aerostack.messages (
    topic text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    "position" bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    user_id text NOT NULL COLLATE pg_catalog."C",
    event text NOT NULL,
    data bytea NOT NULL
);
CREATE TABLE aerostack.meta (
    key text NOT NULL,
    value text
);
CREATE TABLE aerostack.nodes (
    node text NOT NULL,
    generation bigint NOT NULL,
    granted timestamp with time zone DEFAULT now() NOT NULL
);
CREATE UNLOGGED TABLE aerostack.peers (
    node text NOT NULL,
    epoch text NOT NULL,
    cursor text NOT NULL,
    seen timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE aerostack.watches (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    relation oid NOT NULL,
    since pg_lsn NOT NULL,
    files jsonb,
    definitions jsonb,
    identities jsonb,
    types jsonb
);
CREATE TABLE public.orders (
    id integer NOT NULL,
    total double precision
);
ALTER TABLE ONLY public.orders REPLICA IDENTITY FULL;
INSERT INTO aerostack.epochs VALUES ('a27f74184f28', '2026-11-29 04:28:39.587454+00', '0/1956E58', 1, 0);
INSERT INTO aerostack.journal VALUES (true, 0, '20aaf923-d58c-4b18-a5ab-2cde84772e3f');
INSERT INTO aerostack.kept VALUES ('revocation', 'user:mallory', '{"kind":"user","subject":"mallory","at":1795926519.9376671,"until":1830486519.9376671}');
INSERT INTO aerostack.messages VALUES ('chat/1/default', 1795926519880, 1795926519856535, 'nj7MbmgGwjZTMTcOb-jkjA', '', 'message', '\x7b226e223a317d');
INSERT INTO aerostack.messages VALUES ('chat/1/default', 1795926519898, 1795926519898125, 'nMgBzoG6zvx1pViu0VDthA', '', 'message', '\x7b226e223a327d');
INSERT INTO aerostack.messages VALUES ('chat/1/default', 1795926519904, 1795926519904460, 'Ps2YF5hWInzpZBWrFDJBBg', '', 'message', '\x7b226e223a337d');
INSERT INTO aerostack.messages VALUES ('chat/1/default', 1795926519913, 1795926519913282, 'YiDeuTf21bxnEb5hlXZwUw', '', 'message', '\x7b226e223a347d');
INSERT INTO aerostack.meta VALUES ('version', '4');
INSERT INTO aerostack.meta VALUES ('high_water', '1795926529605139');
INSERT INTO aerostack.watches VALUES ('', 'orders', 16465, '0/1959DC0', '{"16465": "16465"}', '{"1": "730", "2": "730"}', '{"16465": "d"}', NULL);
INSERT INTO public.orders VALUES (1, 10);
ALTER TABLE ONLY aerostack.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (number);
ALTER TABLE ONLY aerostack.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY aerostack.kept
    ADD CONSTRAINT kept_pkey PRIMARY KEY (kind, key);
ALTER TABLE ONLY aerostack.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (topic, created_at);
ALTER TABLE ONLY aerostack.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY aerostack.nodes
    ADD CONSTRAINT nodes_pkey PRIMARY KEY (node);
ALTER TABLE ONLY aerostack.peers
    ADD CONSTRAINT peers_pkey PRIMARY KEY (node);
ALTER TABLE ONLY aerostack.epochs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY aerostack.watches
    ADD CONSTRAINT watches_pkey PRIMARY KEY (schema_name, table_name);
ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX messages_by_id ON aerostack.messages USING btree (topic, user_id, id);
CREATE INDEX messages_by_position ON aerostack.messages USING btree (topic, "position");
