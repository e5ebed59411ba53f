-- You end events of Cerby's webhooks whose job cannot be made into tasks, and say why.
create function reconciler.dismiss_webhook(p_workspace_id text, p_event_ids text[], p_reason text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id, e.became, e.refused
    from reconciler.answer_each('webhook event', p_event_ids, $each$
        select reconciler.dismiss_webhook_event($2, $1, $3)
    $each$, p_workspace_id, p_reason) e
$$;

create function reconciler.dismiss_webhook(p_workspace_id text, p_event_id text, p_reason text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.dismiss_webhook(p_workspace_id, array[p_event_id], p_reason)
$$;

comment on function reconciler.dismiss_webhook(text, text, text) is
    'Ends an event of a webhook that is not resolved: its job is not read any more. Returns one row in which became is '
    'dismissed. Refuses an unknown event (P0002), one that has ended (P0409), and a reason that is blank or longer than '
    '2000 characters (23514). '
    'Example: select * from reconciler.dismiss_webhook(''acme'', ''event-7'', ''the job was a test'');';

comment on function reconciler.dismiss_webhook(text, text[], text) is
    'Does for several ids what dismiss_webhook does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.dismiss_webhook(''acme'', array[''event-7'', ''event-8''], ''tests'');';
