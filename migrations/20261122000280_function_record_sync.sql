create function reconciler.record_sync() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('sync.' || case when tg_op = 'UPDATE' and old.decision is distinct from new.decision
                            then new.decision else new.state end,
            new.workspace_id, 'sync', new.id::text,
            jsonb_strip_nulls(jsonb_build_object(
                'integration_id', new.integration_id, 'procedure', new.procedure,
                'causes', case when new.state = 'requested' then new.causes end, 'counts', new.report -> 'counts',
                'reason', coalesce(case when new.state = 'held' then new.held_reason end,
                                   case when new.decision is not null then new.decision_reason end,
                                   new.finished_reason))));
    if tg_op = 'UPDATE' and new.state = 'report_ready' then
        perform pg_notify('reconciler', 'syncs');
    end if;
    return null;
end
$$;
