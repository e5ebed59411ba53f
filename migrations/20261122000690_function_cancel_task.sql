-- You cancel tasks, and say why. The daemon ends them, and those in flight once nothing of them can take effect.
create function reconciler.cancel_task(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('task', p_ids::text[], $each$
        select reconciler.request_cancellation($1::bigint, $2)
    $each$, p_reason) e
$$;

create function reconciler.cancel_task(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.cancel_task(array[p_id], p_reason)
$$;

comment on function reconciler.cancel_task(bigint, text) is
    'Cancels a task: the daemon ends it, and a task in flight once nothing of it can still take effect. Returns one '
    'row in which became is cancellation requested. Refuses an unknown id (P0002), a task that has ended (P0409), and '
    'a reason that is blank or longer than 2000 characters (23514). '
    'Example: select * from reconciler.cancel_task(42, ''jo stays a member'');';

comment on function reconciler.cancel_task(bigint[], text) is
    'Does for several ids what cancel_task does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.cancel_task(array[42, 43], ''both stay members'');';
