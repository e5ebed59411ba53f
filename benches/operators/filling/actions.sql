-- Of the unfinished ones, a twentieth is overdue and a fiftieth was contradicted. Texts are as long as real ones.
insert into reconciler.manual_actions
    (id, status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
     member_email, member_name, trigger, reason, failure_code, failure_message, attempts, instructions, shown, due_at, requested_at,
     opened_at, assignee, assigned_at, note, note_at, done_by, done_at, verdict, verdict_at, observed, snapshots, reopened_count, closed_at,
     task_id, sync_id, snapshot_hash, snapshot_started_at)
overriding system value
select n, status, operation, workspace_id, integration_id, name, kind, 'asana_tenant', member_id, member_email,
       'Person ' || member_id, 'workspace_policy',
       case when failure_code is null then 'This app cannot be automated for this operation'
            else 'Needs a person: ' || failure_code end,
       failure_code, 'The page showed a message that automation does not know', 3,
       repeat('Open the members page of the app and find ' || member_email || '. ', 9),
       jsonb_build_object('template', 'app_' || operation, 'text', repeat('Open the members page of the app. ', 14)),
       case when not is_unfinished then opened_at + interval '14 days'
            when n / 4 % 20 = 5 then now() - interval '5 days' * public.chance(n)
            else now() + interval '14 days' * public.chance(n) end,
       requested_at, opened_at, worked.by, worked.at, worked.note, worked.at, said.by, said.at, judged.verdict, judged.at, judged.observed,
       case when judged.at is null then 0 else 1 end, case when again.is_so then 1 else 0 end, closed_at, n,
       case when judged.at is not null then 1 + n % 20000 end, case when judged.at is not null then md5(n::text) end,
       judged.at
from public.plan
cross join lateral (select is_unfinished and n / 4 % 50 = 7 as is_so) again
cross join lateral (
    select 'operator_' || n / 40 % 20 as by, opened_at + interval '1 hour' as at, 'asked the owner of the app' as note
    where status in ('in_progress', 'done', 'verified', 'attested', 'dismissed')
    union all
    select null, null, null where status not in ('in_progress', 'done', 'verified', 'attested', 'dismissed')) worked
cross join lateral (
    select worked.by, worked.at + interval '1 minute' as at where status in ('done', 'verified', 'attested')
    union all
    select null, null where status not in ('done', 'verified', 'attested')) said
cross join lateral (
    select case when again.is_so then 'contradicted' else 'confirmed' end as verdict,
           greatest(said.at, opened_at) + interval '1 hour' as at, 'Seen in the list of the app''s members' as observed
    where again.is_so or status in ('verified', 'not_needed')
    union all
    select null, null, null where not again.is_so and status not in ('verified', 'not_needed')) judged
order by n;
