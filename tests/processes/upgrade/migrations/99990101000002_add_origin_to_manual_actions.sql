-- oldest program: 0.1.0
alter table reconciler.manual_actions add column origin text not null default 'unknown';
