-- oldest program: 0.1.0
alter table reconciler.automation_tasks add column origin text not null default 'unknown';
