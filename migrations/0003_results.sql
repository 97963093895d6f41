-- What sessions found: batches (so that a resend is known), spans by day, what waits for export.
-- Results carry no foreign keys: a batch must be stored or refused as a whole without waiting for other rows.

-- Every batch that was made durable, as long as an agent could send it again.
create table result_batches (
  agent_id uuid not null,
  boot_id text not null,
  batch bigint not null,
  session_id uuid not null,
  spans int not null,
  receive_time timestamptz not null default now(),
  primary key (agent_id, boot_id, batch)
);
create index result_batches_time on result_batches (receive_time);

-- Counts outlive the spans. A row per session and agent, so that agents do not wait for each other.
create table session_spans (
  session_id uuid not null,
  agent_id uuid not null,
  spans bigint not null default 0,
  primary key (session_id, agent_id)
);
create table session_losses (
  session_id uuid not null,
  agent_id uuid not null,
  reason text not null,
  count bigint not null default 0,
  primary key (session_id, agent_id, reason)
);

-- Immutable. `day` is the day of arrival (UTC): whole days are dropped.
create table spans (
  day date not null default (now() at time zone 'utc')::date,
  session_id uuid not null,
  trace_id bytea not null,
  span_id bytea not null,
  -- Empty for a root.
  parent_span_id bytea not null,
  name text not null,
  kind text not null,
  status text not null,
  service text not null,
  agent_id uuid not null,
  hostname text not null,
  pid bigint not null,
  start_unix_nanos bigint not null,
  duration_nanos bigint not null,
  -- resources.sha256 of the same day.
  resource_sha256 bytea not null,
  -- opentelemetry.proto.trace.v1.Span, as the agent sent it.
  span bytea not null,
  -- Order of arrival: (xid, position) is unique. For readers that follow the table.
  position int not null,
  xid xid8 not null default pg_current_xact_id()
) partition by range (day);
create index spans_newest on spans (session_id, start_unix_nanos desc, span_id desc);
create index spans_trace on spans (session_id, trace_id);
create index spans_arrival on spans (session_id, xid);

-- opentelemetry.proto.resource.v1.Resource, once per day that refers to it.
create table resources (
  day date not null default (now() at time zone 'utc')::date,
  sha256 bytea not null,
  resource bytea not null,
  primary key (day, sha256)
) partition by range (day);

-- Spans keep the trace id their agent gave them; a trace that turns out to be part of another one points to it.
create table trace_aliases (
  session_id uuid not null,
  trace_id bytea not null,
  root_trace_id bytea not null,
  create_time timestamptz not null default now(),
  primary key (session_id, trace_id)
);
create index trace_aliases_root on trace_aliases (session_id, root_trace_id);

-- For people with psql.
create view readable_spans as
  select session_id, encode(trace_id, 'hex') as trace_id, encode(span_id, 'hex') as span_id,
         encode(parent_span_id, 'hex') as parent_span_id, name, kind, status, service, hostname, pid,
         to_timestamp(start_unix_nanos / 1e9) as start_time,
         make_interval(secs => duration_nanos / 1e9) as duration
  from spans;

-- What waits for destinations, whether or not the session keeps its spans.
create table export_batches (
  id bigint generated always as identity primary key,
  session_id uuid not null,
  destinations text[] not null,
  spans int not null,
  -- Of the payload, uncompressed.
  bytes int not null,
  -- opentelemetry.proto.trace.v1.TracesData, zstd.
  payload bytea not null,
  create_time timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id()
);
-- It is compressed already.
alter table export_batches alter column payload set storage external;
create index export_batches_arrival on export_batches (xid, id);

-- How far each destination got: everything visible in `delivered` was, and of what became visible since, up to
-- `delivering`, everything up to (xid, id).
create table export_cursors (
  destination text primary key,
  delivered pg_snapshot not null default '1:1:',
  delivering pg_snapshot,
  xid xid8 not null default '0',
  id bigint not null default 0,
  sent_spans bigint not null default 0,
  -- Refused by the destination for good.
  rejected_spans bigint not null default 0,
  -- Dropped here: the destination was away for too long.
  dropped_spans bigint not null default 0,
  update_time timestamptz not null default now()
);

-- Partitions from yesterday to `ahead` days from now (UTC).
create function prepare_result_days(ahead int) returns void language plpgsql as $$
declare
  today date := (now() at time zone 'utc')::date;
  day date;
  parent text;
begin
  perform pg_advisory_xact_lock(hashtext('sonde result days'));
  for day in select generate_series(today - 1, today + ahead, '1 day')::date loop
    foreach parent in array array['spans', 'resources'] loop
      -- Asked first: creating one locks the parent against everybody.
      if to_regclass(parent || '_' || to_char(day, 'YYYYMMDD')) is null then
        execute format('create table %I partition of %I for values from (%L) to (%L)',
                       parent || '_' || to_char(day, 'YYYYMMDD'), parent, day, day + 1);
      end if;
    end loop;
  end loop;
end $$;

select prepare_result_days(3);
