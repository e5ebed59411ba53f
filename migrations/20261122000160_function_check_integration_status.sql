create function reconciler.check_integration_status(o reconciler.integrations, n reconciler.integrations) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if n.status is null or n.status not in ('active', 'paused') then
        raise exception 'the status of integration % can be set to active or paused, not to %',
                        o.integration_id, coalesce(n.status, 'null')
            using errcode = 'check_violation';
    end if;
    if n.status = 'paused' and (reconciler.is_blank(n.status_reason)
                                or o.status <> 'paused' and n.status_reason is not distinct from o.status_reason) then
        raise exception 'pausing integration % needs a status_reason', o.integration_id
            using errcode = 'check_violation',
                  hint = format('update reconciler.integrations set status = ''paused'', status_reason = ''...'' '
                                'where integration_id = %L', o.integration_id);
    end if;
end
$$;
