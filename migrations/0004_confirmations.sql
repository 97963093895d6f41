-- Agents that read the same as an offset table from a binary of their own. A table never changes, so neither does what
-- was said of it.
create table offset_table_confirmations (
  offset_table_id uuid not null references offset_tables on delete cascade,
  agent_id uuid not null references agents on delete cascade,
  confirm_time timestamptz not null default now(),
  primary key (offset_table_id, agent_id)
);
