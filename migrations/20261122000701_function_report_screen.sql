-- A person reports that the app looks different from the instructions of an action. Whoever reports again replaces their
-- words: an action counts once.
create function reconciler.report_screen(p_action_id bigint, p_note text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    update reconciler.manual_actions b
    set screen_changed_at = clock_timestamp(), screen_changed_by = reconciler.current_actor(),
        screen_changed_note = nullif(btrim(p_note), '')
    where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'reported';
end
$$;

comment on function reconciler.report_screen(bigint, text) is
    'Does what screen_changed does for one action, and returns reported.';
