-- You state that you did what actions ask for. The app is read to prove it.
create function reconciler.mark_done(p_ids bigint[], p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], case
        when p_note is null
        then $each$ update reconciler.manual_actions set status = 'done' where id = $1::bigint returning status $each$
        else $each$ update reconciler.manual_actions set status = 'done', note = $2
                    where id = $1::bigint returning status $each$
    end, p_note) e
$$;

create function reconciler.mark_done(p_id bigint, p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.mark_done(array[p_id], p_note)
$$;
