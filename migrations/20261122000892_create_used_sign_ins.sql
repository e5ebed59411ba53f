-- An answer of the issuer of OpenID Connect counts once, whichever replica it reaches. Only hashes are stored: the secrets
-- are in the browsers that began the sign-ins.
create table reconciler.used_sign_ins (
    hash    bytea primary key,
    used_at timestamptz not null default now(),
    constraint hash_is_32_bytes check (octet_length(hash) = 32)
);

create index used_sign_ins_by_time on reconciler.used_sign_ins (used_at);

comment on table reconciler.used_sign_ins is
    'Sign-ins by OpenID Connect that were answered, for a day: an answer that comes again is refused.';

comment on column reconciler.used_sign_ins.hash is 'SHA-256 of the secret that the browser kept for the sign-in.';

comment on column reconciler.used_sign_ins.used_at is 'When the answer came.';
