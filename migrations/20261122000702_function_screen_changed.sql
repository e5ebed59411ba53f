-- You report that the app looks different from the instructions.
create function reconciler.screen_changed(p_ids bigint[], p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.report_screen($1::bigint, $2)
    $each$, p_note) e
$$;

create function reconciler.screen_changed(p_id bigint, p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.screen_changed(array[p_id], p_note)
$$;

comment on function reconciler.screen_changed(bigint, text) is
    'Reports that the app looks different from the instructions of an action; a note may say what has changed. It is '
    'counted for the text of the instructions, in changed_screens. Returns one row in which became is reported. Refuses '
    'an unknown id (P0002), an action that has ended (P0409), and a note longer than 2000 characters (23514). '
    'Example: select * from reconciler.screen_changed(7, ''Members is called People now'');';

comment on function reconciler.screen_changed(bigint[], text) is
    'Does for several ids what screen_changed does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.screen_changed(array[7, 8]);';
