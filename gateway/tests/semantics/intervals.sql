select interval '1 day', interval '1' day, interval '1 year 2 months 3 days 04:05:06.789', interval '-1 day 2 hours', interval '1 day ago', interval '90 minutes', interval '1.5 hours', interval '100 days', interval '14 months', interval '2 weeks'
select interval '1-2', interval '1-2 3 04:05:06', interval '10:20', interval '10:20:30', interval '5', interval '1 century', interval '3 decades', interval '1 millisecond', interval '7 us', interval '0'
select interval '1' year, interval '1' month, interval '5' hour, interval '5' minute, interval '5' second, interval '1-2' year to month, interval '1 02:03' day to minute
select interval '1 day' + interval '2 hours', interval '1 day' - interval '2 hours', - interval '1 day', interval '1 month' + interval '1 day'
select interval '1 day' * 2, 2 * interval '1 day', interval '1 day' * 1.5, interval '1 month' * 1.5, interval '1 hour' / 2, interval '1 day' / 2, interval '1 month' / 2, interval '1 day' * 0.1
select interval '1 day' / 0
select interval '1 day' = interval '24 hours', interval '1 month' = interval '30 days', interval '1 day' < interval '25 hours', interval '1 month' > interval '29 days', interval '1 year' = interval '12 months'
select justify_hours(interval '27 hours'), justify_days(interval '35 days'), justify_interval(interval '1 mon -1 hour')
select sum(x), avg(x), min(x), max(x) from (values (interval '1 day'), (interval '3 days 2 hours')) v(x)
select x from (values (interval '1 month'), (interval '29 days'), (interval '31 days'), (interval '800 hours')) v(x) order by x
select interval '1 day' > '1 hour', interval '1 hour' between '30 minutes' and '90 minutes'
select extract(day from interval '40 days 5 hours'), extract(epoch from interval '1 year'), date_part('minute', interval '1 hour 30 minutes')
select (timestamp '2024-03-01 12:00' - timestamp '2024-02-28 10:30') > interval '2 days', extract(day from timestamp '2024-03-01 12:00' - timestamp '2024-02-28 10:30'), extract(epoch from timestamp '2024-03-01 12:00' - timestamp '2024-02-28 10:30')
select make_interval(years => 1, days => 2), interval '1 day'::text, '1 day'::interval + '2 hours'
select interval 'P1Y2M10DT2H30M', interval 'PT36H', interval 'P0001-02-03T04:05:06'
select coalesce(null::interval, interval '1 day'), nullif(interval '1 day', interval '24 hours')
