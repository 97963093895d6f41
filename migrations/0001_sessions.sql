-- Sessions, standing policy, what agents report about them, and the change feed that wakes every replica.
-- Conventions of all tables: README.md beside this file.

-- What changed, for the replicas: a row per changed thing, written in the transaction that changes it.
-- Readers ask for the rows that have become visible since their last snapshot (store/change_feed.h); ids from a
-- sequence would be skipped, since they commit out of order. Pruned after an hour.
create table changes (
  xid xid8 not null default pg_current_xact_id(),
  kind text not null,
  key text not null,
  change_time timestamptz not null default clock_timestamp()
);
create index changes_xid on changes (xid);

create table sessions (
  id uuid primary key,
  -- sonde.v1.Session, only what its author chose: selector, probes, sampling, budget, propagation, export.
  spec bytea not null,
  display_name text not null default '',
  state text not null check (state in ('SCHEDULED', 'STARTING', 'ACTIVE', 'STOPPING',
                                       'SUCCEEDED', 'FAILED', 'CANCELLED', 'EXPIRED')),
  state_detail text not null default '',
  -- What STOPPING ends as.
  ending text not null default '',
  -- The selector's max_hosts, 0 for no limit: assigning agents counts against it.
  max_hosts int not null default 0,
  create_time timestamptz not null default now(),
  start_time timestamptz,
  stop_time timestamptz,
  end_time timestamptz,
  update_time timestamptz not null default now(),
  expire_time timestamptz not null,
  created_by text not null,
  -- Idempotency: the same caller with the same request id gets the same session.
  request_id text,
  request_sha256 bytea,
  revision bigint not null default 1,
  xid xid8 not null default pg_current_xact_id()
);
create unique index sessions_request_id on sessions (created_by, request_id) where request_id is not null;
create index sessions_newest on sessions (create_time desc, id desc);
create index sessions_live on sessions (expire_time) where end_time is null;

-- One row per session and agent it was assigned to: who was asked, and how far it got. An agent without a row
-- may not report for the session. agent_id refers to agents without a foreign key: an agent that is deleted
-- leaves the history of what it did.
create table assignment_statuses (
  session_id uuid not null references sessions on delete cascade,
  agent_id uuid not null,
  state text not null default 'PENDING'
    check (state in ('PENDING', 'SENT', 'APPLYING', 'ACTIVE', 'PARTIAL', 'REJECTED', 'SKIPPED',
                     'REMOVING', 'REMOVED', 'STALE', 'OFFLINE', 'EXPIRED')),
  reason text not null default '',
  detail text not null default '',
  -- sonde.v1.AssignmentStatus: the probes and their cost.
  status bytea not null default '',
  -- Processes with at least one active probe.
  processes int not null default 0,
  create_time timestamptz not null default now(),
  update_time timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id(),
  primary key (session_id, agent_id)
);
create index assignment_statuses_agent on assignment_statuses (agent_id);

create table sampling_rules (
  id uuid primary key,
  -- sonde.v1.SamplingRule, only what its author chose.
  spec bytea not null,
  display_name text not null default '',
  disabled boolean not null default false,
  create_time timestamptz not null default now(),
  update_time timestamptz not null default now(),
  created_by text not null,
  request_id text,
  request_sha256 bytea,
  revision bigint not null default 1,
  xid xid8 not null default pg_current_xact_id()
);
create unique index sampling_rules_request_id on sampling_rules (created_by, request_id)
  where request_id is not null;
create index sampling_rules_newest on sampling_rules (create_time desc, id desc);

create table offset_tables (
  id uuid primary key,
  go_version text not null,
  architecture text not null,
  module text not null default '',
  module_version text not null default '',
  -- sonde.v1.OffsetTable, only go_version to fields.
  spec bytea not null,
  create_time timestamptz not null default now(),
  created_by text not null,
  request_id text,
  request_sha256 bytea,
  revision bigint not null default 1,
  xid xid8 not null default pg_current_xact_id()
);
create unique index offset_tables_request_id on offset_tables (created_by, request_id)
  where request_id is not null;
create index offset_tables_newest on offset_tables (create_time desc, id desc);
create unique index offset_tables_of on offset_tables (go_version, architecture, module, module_version);

-- The Go processes of the fleet, as the agents last reported them.
create table processes (
  agent_id uuid not null,
  pid bigint not null,
  start_time timestamptz,
  hostname text not null default '',
  executable text not null default '',
  service text not null default '',
  go_version text not null default '',
  binary_hash text not null default '',
  -- sonde.v1.Process
  process bytea not null,
  update_time timestamptz not null default now(),
  primary key (agent_id, pid)
);
create index processes_service on processes (service);

-- Every decision, allowed or denied. Append-only.
create table audit_events (
  id bigint generated always as identity primary key,
  event_time timestamptz not null default clock_timestamp(),
  actor text not null,
  -- The RPC, e.g. SessionService/CreateSession.
  method text not null,
  -- What it was about, e.g. sessions/…; empty when there is no single thing.
  resource text not null default '',
  decision text not null check (decision in ('ALLOWED', 'DENIED')),
  -- google.rpc.Code and reason of the answer.
  code int not null default 0,
  reason text not null default '',
  peer text not null default ''
);
create index audit_events_time on audit_events (event_time);
