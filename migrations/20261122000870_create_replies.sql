-- What requests of the API were answered, by the key that the client gave: a request that is sent again is answered as
-- before and does nothing. Kept for a day.
create table reconciler.replies (
    actor        text collate "C" not null,
    key          text collate "C" not null,
    request      bytea       not null,
    begun_at     timestamptz not null default now(),
    status       integer,
    content_type text,
    etag         text,
    body         text,
    primary key (actor, key),
    constraint key_is_1_to_200_characters check (char_length(key) between 1 and 200)
);

create index replies_by_time on reconciler.replies (begun_at);

comment on table reconciler.replies is 'Replies of the API to requests with an Idempotency-Key, for a day. Only the daemon reads them.';

comment on column reconciler.replies.request is 'SHA-256 of the request: the same key with another request is refused.';

comment on column reconciler.replies.status is 'Status of the reply; null while the request runs.';
