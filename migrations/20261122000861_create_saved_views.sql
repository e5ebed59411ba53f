-- Lists as people keep them: a page of the console with its filter. A view is its owner's alone, or shared within a workspace.
-- The column is not called workspace_id, because the policy of those tables shows rows without a workspace to everybody.
create table reconciler.saved_views (
    id         bigint      generated always as identity primary key,
    owner      text collate "C" not null default reconciler.current_actor(),
    name       text        not null,
    page       text        not null,
    query      text        not null,
    shared_in  text collate "C",
    changed_at timestamptz not null default clock_timestamp(),
    constraint views_of_an_owner_have_different_names unique (owner, name),
    constraint name_is_1_to_60_characters_that_are_all_seen
        check (char_length(name) between 1 and 60 and btrim(name) = name
               and name !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]'),
    constraint page_is_actions_tasks_syncs_returns_or_integrations
        check (page in ('actions', 'tasks', 'syncs', 'returns', 'integrations')),
    constraint query_is_at_most_2000_characters check (char_length(query) <= 2000)
);

create index shared_views on reconciler.saved_views (shared_in) where shared_in is not null;

alter table reconciler.saved_views enable row level security;

create policy own_and_shared_views on reconciler.saved_views
    for select to reconciler_viewer, reconciler_operator, reconciler_definer
    using (owner = (select reconciler.current_actor())
           or coalesce(shared_in = any ((select reconciler.own_workspaces())::text[]), shared_in is not null));

create policy new_views on reconciler.saved_views for insert to reconciler_operator
    with check (owner = (select reconciler.current_actor())
                and coalesce(shared_in = any ((select reconciler.own_workspaces())::text[]), true));

create policy changed_views on reconciler.saved_views for update to reconciler_operator
    using (owner = (select reconciler.current_actor()))
    with check (owner = (select reconciler.current_actor())
                and coalesce(shared_in = any ((select reconciler.own_workspaces())::text[]), true));

-- delete_saved_view says which.
create policy deleted_views on reconciler.saved_views for delete to reconciler_definer using (true);

comment on table reconciler.saved_views is
    'Lists of the console as people keep them: a page with its filter, for their owner alone or shared within a workspace.';

comment on column reconciler.saved_views.id is 'Id of the view. Assigned by the database.';

comment on column reconciler.saved_views.owner is
    'Who saved the view, as the trail would name them: token:NAME. Stamped by the database.';

comment on column reconciler.saved_views.name is 'Name of the view; each view of an owner has another one.';

comment on column reconciler.saved_views.page is 'actions, tasks, syncs, returns or integrations.';

comment on column reconciler.saved_views.query is 'The filter, as the address of the page has it.';

comment on column reconciler.saved_views.shared_in is
    'The workspace whose people see the view; null if its owner alone does.';

comment on column reconciler.saved_views.changed_at is 'When the view was last changed. Stamped by the database.';
