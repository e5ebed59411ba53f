-- A person ends an event that cannot be resolved. The daemon leaves out an event that this transaction has locked.
create function reconciler.dismiss_webhook_event(p_workspace_id text, p_event_id text, p_reason text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    e reconciler.webhook_events;
begin
    if reconciler.is_blank(p_reason) or char_length(p_reason) > 2000 then
        raise exception 'to dismiss a webhook event, give a reason of 1 to 2000 characters'
            using errcode = 'check_violation',
                  hint = format('select * from reconciler.dismiss_webhook(%L, %L, ''...'')', p_workspace_id, p_event_id);
    end if;
    select * into e from reconciler.webhook_events w
    where w.workspace_id = p_workspace_id and w.event_id = p_event_id
    for no key update;
    if not found then
        raise exception 'there is no webhook event %', p_event_id using errcode = 'no_data_found';
    end if;
    if e.ended_at is not null then
        raise exception 'webhook event % has ended: it is % since %', e.event_id, e.outcome, reconciler.moment(e.ended_at)
            using errcode = 'P0409';
    end if;
    update reconciler.webhook_events w
    set ended_at = now(), outcome = 'dismissed', dismissed_by = reconciler.current_actor(), dismiss_reason = p_reason
    where w.workspace_id = e.workspace_id and w.event_id = e.event_id;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('webhook.dismissed', e.workspace_id, 'webhook', e.event_id,
            jsonb_strip_nulls(jsonb_build_object('event_type', e.event_type, 'job_id', e.job_id, 'problem', e.problem,
                                                 'reason', p_reason)));
    return 'dismissed';
end
$$;

comment on function reconciler.dismiss_webhook_event(text, text, text) is
    'Does what dismiss_webhook does for one event, and returns dismissed.';
