-- Outages of the backend: the workspaces and apps for which it gives no usable answer. The replica that detected an
-- outage owns the row, probes and logs; the others follow the row. There are a few rows while an outage goes on, and
-- only the daemon can read them.
create table reconciler.outages (
    workspace_id   text collate "C" not null,
    -- Empty for the whole workspace.
    integration_id text collate "C" not null,
    replica        bigint      not null,
    held_until     timestamptz not null,
    primary key (workspace_id, integration_id)
);
