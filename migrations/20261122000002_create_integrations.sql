create table reconciler.integrations (
    workspace_id   text        not null,
    integration_id text        not null,
    name           text        not null,
    kind           text        not null,
    application    text        not null,
    gate           text        not null default 'open',
    gate_reason    text,
    gate_until     timestamptz,
    primary key (workspace_id, integration_id),
    constraint kind_is_app_or_business_hub check (kind in ('app', 'business_hub')),
    constraint gate_is_open_half_open_closed_paused_or_credentials
        check (gate in ('open', 'half_open', 'closed', 'paused', 'credentials'))
) with (fillfactor = 50);

comment on table reconciler.integrations is
    'The connections to external apps that tasks were seen for, and whether their gate lets tasks through.';

create function reconciler.record_gate_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.gate_changed', new.workspace_id, 'integration', new.integration_id,
            jsonb_strip_nulls(jsonb_build_object('from', old.gate, 'to', new.gate, 'reason', new.gate_reason,
                                                 'until', new.gate_until)));
    if new.gate = 'open' then
        perform pg_notify('reconciler', 'tasks');
    end if;
    return null;
end
$$;

-- People pause and resume; the other positions of the gate are the daemon's findings.
create function reconciler.guard_gate() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_daemon() then
        if new.gate not in ('open', 'paused') then
            raise exception 'the gate of integration % can be set to open or paused, not to %', old.integration_id, new.gate
                using errcode = 'check_violation';
        end if;
        if new.gate = 'paused' and btrim(coalesce(new.gate_reason, '')) = '' then
            raise exception 'pausing integration % needs a gate_reason', old.integration_id
                using errcode = 'check_violation';
        end if;
    end if;
    if new.gate = 'open' then
        new.gate_reason := null;
        new.gate_until := null;
    end if;
    return new;
end
$$;

create trigger gate_changes_are_guarded
    before update of gate on reconciler.integrations
    for each row execute function reconciler.guard_gate();

create trigger gate_changes_are_recorded
    after update of gate on reconciler.integrations
    for each row when (old.gate is distinct from new.gate)
    execute function reconciler.record_gate_change();
