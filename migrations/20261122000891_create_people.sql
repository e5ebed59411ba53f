-- Whom the issuer of OpenID Connect calls what. The trail names a person as oidc:SUB, and what the issuer calls somebody is
-- often a number; people read the email beside it. Retention forgets who has not signed in for as long as the trail is kept.
create table reconciler.people (
    actor        text collate "C" primary key,
    email        text,
    role         text,
    workspaces   text[],
    signed_in_at timestamptz not null default now(),
    constraint actor_is_a_person_of_the_issuer check (starts_with(actor, 'oidc:')),
    constraint email_is_1_to_320_characters check (char_length(email) between 1 and 320),
    constraint role_is_viewer_operator_or_administrator check (role in ('viewer', 'operator', 'administrator'))
);

-- Whoever works in a workspace reads who else acts there.
alter table reconciler.people enable row level security;

create policy people_of_own_workspaces on reconciler.people to reconciler_viewer, reconciler_operator
    using (coalesce(workspaces && (select reconciler.own_workspaces()), true));

create policy all_people on reconciler.people to reconciler_daemon, reconciler_definer using (true);

create index people_by_email on reconciler.people (email);

create index people_by_sign_in on reconciler.people (signed_in_at);

comment on table reconciler.people is
    'People who signed in by OpenID Connect: the email for each oidc:SUB of the trail, and what they might do.';

comment on column reconciler.people.actor is 'The person as the trail records it: oidc:SUB, where SUB is what the issuer calls them.';

comment on column reconciler.people.email is 'The email that the issuer gave when the person last signed in; null if it gave none.';

comment on column reconciler.people.role is
    'viewer, operator or administrator, as the issuer said at the last sign-in; null if it gave no role then.';

comment on column reconciler.people.workspaces is
    'The workspaces that the person might see and change after the last sign-in; null for all.';

comment on column reconciler.people.signed_in_at is 'When the person last signed in.';
