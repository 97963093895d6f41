-- Who may be an agent: the authority's certificate, join tokens, agents, and the certificates they were given.

-- The certificate authorities of this installation, never their keys: a replica that holds another one refuses to
-- start. One row.
create table authorities (
  sha256 bytea primary key,
  certificate text not null,
  create_time timestamptz not null default now()
);

create table agents (
  id uuid primary key,
  hostname text not null default '',
  -- Draining agents get no new sessions; the last two have no credential any more.
  standing text not null default 'ADMITTED'
    check (standing in ('ADMITTED', 'DRAINING', 'EVICTED', 'BANNED')),
  -- From the join token or an administrator; only these decide about access.
  assigned_labels jsonb not null default '{}',
  -- From the agent; for people and selectors.
  reported_labels jsonb not null default '{}',
  version text not null default '',
  kernel text not null default '',
  architecture text not null default '',
  boot_id text not null default '',
  capabilities text[] not null default '{}',
  limitations text[] not null default '{}',
  -- The replica that holds its control stream, and which of its streams that is: the end of an older stream
  -- must not hide a newer one at another replica.
  replica_id uuid,
  connection_id uuid,
  last_seen_time timestamptz,
  -- sonde.v1.AgentHealth of the newest heartbeat.
  health bytea not null default '',
  create_time timestamptz not null default now(),
  revision bigint not null default 1,
  xid xid8 not null default pg_current_xact_id()
);
create index agents_newest on agents (create_time desc, id desc);

-- Replicas that are alive: an agent whose replica is not is offline, also after kill -9.
create table replicas (
  id uuid primary key,
  last_seen_time timestamptz not null default now()
);

-- Every certificate that is still in time. A certificate without a row here is not let in.
create table agent_credentials (
  serial text primary key,
  agent_id uuid not null references agents on delete cascade,
  public_key_sha256 bytea not null,
  not_after timestamptz not null,
  issue_time timestamptz not null default now(),
  revoke_time timestamptz
);
create index agent_credentials_agent on agent_credentials (agent_id);
create index agent_credentials_expired on agent_credentials (not_after);

-- Keys that an agent proved to hold, kept when its certificates are gone: a banned key stays out.
create table agent_keys (
  public_key_sha256 bytea not null,
  agent_id uuid not null references agents on delete cascade,
  primary key (public_key_sha256, agent_id)
);

create table join_tokens (
  id uuid primary key,
  secret_sha256 bytea not null unique,
  labels jsonb not null default '{}',
  create_time timestamptz not null default now(),
  expire_time timestamptz not null,
  created_by text not null,
  request_id text,
  -- The one enrollment: which agent, with which key.
  use_time timestamptz,
  agent_id uuid references agents on delete set null,
  public_key_sha256 bytea
);
create index join_tokens_newest on join_tokens (create_time desc, id desc);
create unique index join_tokens_request_id on join_tokens (created_by, request_id) where request_id is not null;
