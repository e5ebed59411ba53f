-- Nobody can keep views without end, and a view is shared where its owner sees something. It runs as the caller, who counts
-- their own views and sees their own workspaces.
create function reconciler.check_saved_view() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    c_most constant integer := 50;
begin
    if new.shared_in is not null
       and not exists (select from reconciler.integrations i where i.workspace_id = new.shared_in) then
        raise exception 'there is no workspace %', new.shared_in using errcode = 'no_data_found';
    end if;
    if tg_op = 'INSERT'
       and not exists (select from reconciler.saved_views v where v.owner = new.owner and v.name = new.name)
       and (select count(*) from reconciler.saved_views v where v.owner = new.owner) >= c_most then
        raise exception 'you have saved % views already', c_most
            using errcode = 'P0409', hint = 'Delete one that you do not use any more.';
    end if;
    new.changed_at := clock_timestamp();
    return new;
end
$$;

create trigger saved_views_are_checked
    before insert or update on reconciler.saved_views
    for each row execute function reconciler.check_saved_view();
