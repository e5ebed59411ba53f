-- What the rows are about, decided once for all tables. The sizes are settings: operators.actions, operators.tasks.
-- The actions were opened over a year. A twentieth of them is unfinished: every fourth of the latest fifth. A few apps have
-- much of the work.
create function public.chance(p_number bigint) returns float8 language sql immutable as
$$ select (hashint8(p_number)::bigint & 65535) / 65536.0 $$;

insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application, paused_reason, paused_at)
select 'workspace-' || n % 4, 'app-' || n, 'App ' || n, case when n % 5 = 0 then 'business_hub' else 'app' end,
       'asana_tenant', case when n % 40 = 7 then 'moved to another plan' end,
       case when n % 40 = 7 then now() - interval '3 days' end
from generate_series(0, 199) n;

-- Ten are not active: five that a person paused, and five whose login is rejected or that have tripped.
insert into reconciler.integration_states
    (workspace_id, integration_id, next_due_at, status, status_reason, status_until, status_since, status_cause,
     inactive_since, snapshot_at, next_snapshot_at)
select 'workspace-' || n % 4, 'app-' || n, now(),
       case when n % 40 <> 17 then 'active' when n % 3 = 0 then 'tripped' else 'login_rejected' end,
       case when n % 40 = 17 then 'the app does not answer' end,
       case when n % 40 = 17 and n % 3 = 0 then now() + interval '10 minutes' end,
       case when n % 40 = 17 then now() - interval '1 day' end,
       case when n % 40 = 17 and n % 3 = 0 then 'failures' end,
       case when n % 40 = 17 then now() - interval '1 day' when n % 40 = 7 then now() - interval '3 days' end,
       now() - interval '1 hour', now() + interval '1 day'
from generate_series(0, 199) n;

create unlogged table public.plan as
with sizes as (
    select current_setting('operators.actions')::bigint as actions
), numbered as (
    select n, actions,
           case when n > actions - actions / 5 and n % 4 = 0 then (n - (actions - actions / 5)) / 4 end as unfinished
    from sizes cross join generate_series(1, actions) n
), placed as (
    -- An unfinished person has work in up to five apps, each another one.
    select n, actions, unfinished is not null as is_unfinished,
           case when unfinished is null then n % (actions / 5) else unfinished % (actions / 100) end as person,
           case when unfinished is null then public.chance(n)
                else public.chance(unfinished % (actions / 100)) + 0.2 * (unfinished / (actions / 100)) end as place
    from numbered
), shared as (
    select n, is_unfinished, person, floor(200 * power(place - floor(place), 2))::int as app,
           public.chance(n + 1000000007) as luck, public.chance(n + 2000000014) as fate,
           now() - interval '365 days' * ((actions - n)::float8 / actions) - interval '1 hour' as opened_at
    from placed
)
select n, is_unfinished, 'workspace-' || app % 4 as workspace_id, 'app-' || app as integration_id, 'App ' || app as name,
       case when app % 5 = 0 then 'business_hub' else 'app' end as kind, 'user-' || person as member_id,
       'user-' || person || '@example.com' as member_email,
       case when n % 7 < 4 then 'remove' when n % 7 < 6 then 'invite' else 'change_role' end as operation,
       case when luck < 0.4 then 'NotEnoughSeats' when luck < 0.65 then 'ProxyTimeout' when luck < 0.8 then 'PageChanged'
            when luck < 0.85 then 'AccountLocked' when luck < 0.851 then 'OddAnswer' end as failure_code,
       case when is_unfinished then (array['done', 'in_progress', 'in_progress', 'open', 'open', 'open', 'open', 'open',
                                           'open', 'open'])[1 + n / 4 % 10]
            when fate < 0.6 then 'verified' when fate < 0.7 then 'attested'
            when fate < 0.8 then 'not_needed' when fate < 0.9 then 'superseded' when fate < 0.95 then 'dismissed'
            else 'returned' end as status,
       opened_at - interval '1 hour' * fate as requested_at, opened_at,
       case when not is_unfinished then least(opened_at + interval '3 days' * luck, now()) end as closed_at
from shared;

-- The login of an integration is rejected, and a person has to fix it.
insert into public.plan
select current_setting('operators.actions')::bigint + row_number() over (), true, workspace_id, integration_id, integration_id,
       'app', '', '', 'reconnect', 'InvalidCredentials', 'open', null, now() - interval '1 day', null
from reconciler.integration_states where status = 'login_rejected';
