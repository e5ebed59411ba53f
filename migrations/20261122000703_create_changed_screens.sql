-- Which texts of instructions people reported. A text that was mended has another hash, and its count begins anew.
create view reconciler.changed_screens as
select a.workspace_id, a.application, a.operation, a.shown ->> 'template' as instructions, a.shown ->> 'source' as source,
       a.instructions_hash, count(*) as reports, max(a.screen_changed_at) as last_reported_at,
       (array_agg(a.screen_changed_note order by a.screen_changed_at desc)
            filter (where a.screen_changed_note is not null))[1] as last_note
from reconciler.manual_actions a
where a.screen_changed_at is not null
group by a.workspace_id, a.application, a.operation, a.shown ->> 'template', a.shown ->> 'source', a.instructions_hash;

comment on view reconciler.changed_screens is
    'Texts of instructions of which people reported that the app looks different, for each workspace and app.';

comment on column reconciler.changed_screens.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.changed_screens.application is 'Id of the app in the catalogue.';

comment on column reconciler.changed_screens.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.changed_screens.instructions is
    'The text: a file of the folder of instructions, or the name of one that the program has.';

comment on column reconciler.changed_screens.source is 'folder, or shipped for a text that the program has.';

comment on column reconciler.changed_screens.instructions_hash is 'Hash of the text.';

comment on column reconciler.changed_screens.reports is 'Number of actions on which somebody reported it.';

comment on column reconciler.changed_screens.last_reported_at is 'When somebody last reported it.';

comment on column reconciler.changed_screens.last_note is 'What has changed, in the latest words; null if nobody gave any.';
