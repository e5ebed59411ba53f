-- oldest program: 0.1.0
alter table reconciler.members add column origin text not null default 'unknown';
