set timezone = 'America/New_York'
-- literals
select date '2024-02-29', timestamp '2024-02-29 12:34:56', timestamptz '2024-02-29 12:34:56', timestamptz '2024-02-29 12:34:56+00', timestamptz '2024-02-29 12:34:56 Asia/Seoul', timestamptz '2024-07-01 12:00Z'
select timestamp with time zone '2024-07-01 12:00:00', time '12:34', timestamp without time zone '2024-07-01 12:00:00'
select '2024-07-01 12:00:00'::timestamptz, '2024-01-01'::timestamptz, '2024-07-01 12:00:00-05:30'::timestamptz, '2024-07-01T12:00:00.123456Z'::timestamptz
select '2024-03-10 02:30:00'::timestamptz, '2024-11-03 01:30:00'::timestamptz
select '2024-07-01 12:00:00 EST'::timestamptz, '2024-07-01 12:00:00 PDT'::timestamptz
select '2024-07-01 12:00:00 Nowhere/City'::timestamptz
-- zone conversions
select timestamptz '2024-07-01 12:00:00+00' at time zone 'Asia/Seoul', timestamp '2024-07-01 12:00:00' at time zone 'Asia/Seoul', timestamptz '2024-07-01 12:00:00+00' at time zone 'UTC', timestamp '2024-07-01 12:00' at time zone 'UTC' at time zone 'Asia/Seoul'
select timestamptz '2024-07-01 12:00:00+00' at time zone interval '9 hours', timestamptz '2024-07-01 12:00:00+00' at time zone '+05:30', timezone('Asia/Tokyo', timestamptz '2024-07-01 12:00:00+00')
select timestamptz '2024-07-01 12:00:00+00' at time zone 'Nowhere/City'
select timestamptz '2024-07-01 02:00:00+00'::date, timestamptz '2024-07-01 12:00:00+00'::timestamp, timestamp '2024-07-01 12:00:00'::timestamptz, date '2024-07-01'::timestamptz, timestamptz '2024-07-01 12:00:00+00'::time, timestamptz '2024-07-01 12:00:00+00'::text
select z from (values ('UTC'), ('Asia/Seoul')) v(z) where (timestamptz '2024-07-01 20:00:00+00' at time zone z)::date = date '2024-07-02'
-- comparison across types
select timestamptz '2024-07-01 12:00:00+00' = timestamp '2024-07-01 08:00:00', date '2024-07-01' < timestamp '2024-07-01 00:00:01', date '2024-07-01' = timestamptz '2024-07-01 04:00:00+00', timestamptz '2024-07-01 12:00:00+00' > '2024-07-01'
select timestamptz '2024-07-01 12:00:00+00' between '2024-07-01' and '2024-07-02', timestamptz '2024-07-01 03:00:00+00' >= date '2024-07-01'
-- arithmetic
select date '2024-02-28' + 2, date '2024-03-01' - 1, 1 + date '2024-02-28', date '2024-03-01' - date '2024-02-01'
select date '2024-01-31' + interval '1 month', date '2024-02-28' + interval '1 day', date '2024-02-28' - interval '1 hour', interval '1 day' + date '2024-02-28'
select date '2024-01-01' + time '12:30', time '12:30' + date '2024-01-01'
select timestamp '2024-01-31 10:00' + interval '1 month', timestamp '2024-03-31' - interval '1 month', timestamp '2024-01-01' + interval '1 year 2 days 03:04:05'
select timestamptz '2024-03-09 12:00:00' + interval '1 day', timestamptz '2024-03-09 12:00:00' + interval '24 hours', timestamptz '2024-03-10 12:00:00' - interval '1 day', timestamptz '2024-01-31 12:00' + interval '6 months'
select timestamp '2024-03-01 12:00' - timestamp '2024-02-28 10:30', timestamptz '2024-03-11 00:00' - timestamptz '2024-03-10 00:00', timestamp '2024-01-01' - timestamp '2024-01-02 01:00'
select timestamp '2024-03-01' - date '2024-02-28', date '2024-03-01' - timestamp '2024-02-28 12:00', now() - now()
select time '12:00' + interval '2 hours', time '23:00' + interval '2 hours', time '12:00' - time '10:30', time '01:00' - interval '2 hours'
select date '2024-01-01' + 1.5
select timestamp '2024-01-01' + 1
select timestamp '2024-01-01' + timestamp '2024-01-01'
-- extract, date_part
select extract(year from date '2024-02-29'), extract(month from timestamp '2024-02-29 12:34:56.789'), extract(day from date '2024-02-29'), extract(hour from timestamp '2024-02-29 12:34:56.789'), extract(minute from timestamp '2024-02-29 12:34:56.789'), extract(second from timestamp '2024-02-29 12:34:56.789')
select extract(dow from date '2024-03-03'), extract(isodow from date '2024-03-03'), extract(doy from date '2024-03-01'), extract(week from date '2024-12-30'), extract(isoyear from date '2024-12-30'), extract(quarter from date '2024-05-01'), extract(century from date '2024-05-01'), extract(decade from date '2024-05-01'), extract(millennium from date '2024-05-01')
select extract(epoch from timestamp '2024-02-29 12:34:56.789'), extract(epoch from timestamptz '2024-02-29 12:34:56+00'), extract(epoch from date '2024-02-29'), extract(epoch from interval '1 day 2 hours'), extract(epoch from interval '1 month')
select extract(milliseconds from timestamp '2024-02-29 12:34:56.789'), extract(microseconds from timestamp '2024-02-29 12:34:56.789'), extract(julian from date '2024-02-29')
select extract(hour from timestamptz '2024-07-01 12:00:00+00'), extract(timezone from timestamptz '2024-07-01 12:00:00+00'), extract(timezone_hour from timestamptz '2024-07-01 12:00:00+00')
select date_part('year', timestamp '2024-02-29 12:34:56'), date_part('epoch', timestamp '2024-02-29 12:34:56.5'), date_part('day', interval '3 days 4 hours'), date_part('hour', interval '3 days 4 hours'), date_part('month', date '2024-02-29')
select extract(year from interval '14 months'), extract(month from interval '14 months'), extract(second from interval '1.5 seconds'), extract(hour from time '12:34:56'), extract(epoch from time '01:00:00')
select extract(nonsense from date '2024-02-29')
select date_part('nonsense', date '2024-02-29')
select extract(hour from date '2024-02-29')
-- truncation
select date_trunc('month', timestamp '2024-02-29 12:34:56'), date_trunc('day', timestamptz '2024-07-01 02:00:00+00'), date_trunc('week', date '2024-02-29'), date_trunc('quarter', timestamp '2024-05-05'), date_trunc('hour', timestamp '2024-05-05 12:34:56'), date_trunc('year', date '2024-05-05'), date_trunc('decade', timestamp '2024-05-05'), date_trunc('century', timestamp '2024-05-05')
select date_trunc('day', timestamptz '2024-07-01 02:00:00+00', 'Asia/Seoul'), date_trunc('month', timestamptz '2024-03-20 12:00:00+00'), date_trunc('day', interval '3 days 4 hours'), date_trunc('millisecond', timestamp '2024-05-05 12:34:56.789123')
select date_trunc('nonsense', timestamp '2024-05-05')
select date_bin('15 minutes', timestamp '2024-02-11 15:44:17', timestamp '2001-01-01'), date_bin('1 day', timestamptz '2024-02-11 15:44:17+00', timestamptz '2001-01-01 00:00+00')
-- age, make_*
select age(timestamp '2024-03-01', timestamp '2023-01-31'), age(timestamp '2024-02-29', timestamp '2024-03-01'), age(timestamp '2024-03-01 12:00', timestamp '2000-06-15 18:30')
select age(date '2024-03-01', date '2020-02-29'), age(timestamptz '2024-03-11 00:00', timestamptz '2024-03-10 00:00')
select make_date(2024, 2, 29), make_time(12, 34, 56.5), make_timestamp(2024, 2, 29, 12, 34, 56.5), make_timestamptz(2024, 7, 1, 12, 0, 0), make_timestamptz(2024, 7, 1, 12, 0, 0, 'UTC'), make_interval(1, 2, 3, 4, 5, 6, 7.5), make_interval(days => 10)
select make_date(2024, 2, 30)
select isfinite(date '2024-02-29'), isfinite(timestamp 'infinity')
--! infinity: error 0A000
select timestamp 'infinity', date '-infinity', timestamptz 'infinity'
--! infinity: error 0A000
select (date '2024-01-01', date '2024-02-01') overlaps (date '2024-01-15', date '2024-03-01'), (date '2024-01-01', date '2024-02-01') overlaps (date '2024-02-01', date '2024-03-01')
-- conversion functions
select to_timestamp(0), to_timestamp(1709164800.5), to_timestamp(1709164800)
select to_date('2024-02-29', 'YYYY-MM-DD'), to_date('29/02/2024', 'DD/MM/YYYY'), to_date('20240229', 'YYYYMMDD'), to_date('Feb 29 2024', 'Mon DD YYYY'), to_date('2024-060', 'YYYY-DDD')
select to_timestamp('2024-02-29 12:34:56', 'YYYY-MM-DD HH24:MI:SS'), to_timestamp('02/29/2024 01:02 PM', 'MM/DD/YYYY HH12:MI AM'), to_timestamp('2024-02-29T12:34:56.789', 'YYYY-MM-DD"T"HH24:MI:SS.MS')
select to_date('nonsense', 'YYYY-MM-DD')
select to_date('2024-02-30', 'YYYY-MM-DD')
select to_char(timestamp '2024-02-29 13:04:05.678', 'YYYY-MM-DD HH24:MI:SS'), to_char(timestamp '2024-02-29 13:04:05.678', 'YY-M-D'), to_char(date '2024-02-29', 'Day, DD Month YYYY'), to_char(date '2024-02-29', 'FMDay, FMDD FMMonth YYYY'), to_char(date '2024-02-29', 'Dy DD Mon YYYY'), to_char(timestamp '2024-02-29 13:04:05.678', 'HH12:MI:SS AM'), to_char(timestamp '2024-02-29 03:04:05.678', 'HH:MI pm'), to_char(timestamp '2024-02-29 13:04:05.678', 'SS.MS US')
select to_char(date '2024-02-29', 'Q'), to_char(date '2024-02-29', 'IYYY-IW-ID'), to_char(date '2024-02-29', 'DDD WW W CC J'), to_char(date '2024-02-29', 'D'), to_char(date '2024-02-29', 'MONTH Month month MON mon'), to_char(date '2024-02-29', 'YYYY"year"MM'), to_char(date '2024-03-01', 'DDth'), to_char(date '2024-03-01', 'Y,YYY'), to_char(date '2024-03-02', 'FMDDth'), to_char(date '2024-02-29', 'RM')
select to_char(timestamptz '2024-07-01 12:00:00+00', 'YYYY-MM-DD HH24:MI:SS TZ OF'), to_char(timestamptz '2024-07-01 12:00:00+00', 'YYYY-MM-DD"T"HH24:MI:SSOF'), to_char(timestamp '2024-02-29 13:04:05', 'SSSS'), to_char(interval '25 hours 3 minutes', 'HH24:MI:SS'), to_char(interval '3 days 2 hours', 'DD HH24')
select to_char(1234.5, '9999.99'), to_char(1234.5, 'FM9999.99'), to_char(1234567.891, '9,999,999.99'), to_char(-5, '999'), to_char(5, '000'), to_char(0.5, '0.99'), to_char(0.5, '9.99'), to_char(12, 'FM000'), to_char(1234.5, 'FM999,999,990.00'), to_char(12345, '999')
select to_char(-12.3, 'S99.9'), to_char(12.3, '99.9PR'), to_char(-12.3, '99.9PR'), to_char(12.3, 'MI99.9'), to_char(485, 'RN'), to_char(0.12, '99%'), to_char(1e10, '9.99EEEE'), to_char(12.45, '99V9'), to_char(1500, 'L9,999'), to_char(485, '999th')
select to_number('1,234.56', '9,999.99'), to_number('-12.3', 'S99.9'), to_number('12,454.8-', '99G999D9S')
-- current time
select now() = current_timestamp, now() = transaction_timestamp(), current_date = now()::date, localtimestamp = now()::timestamp, statement_timestamp() <= clock_timestamp()
select now() - interval '1 day' < now(), current_time is not null, localtime is not null
select pg_typeof(now()), pg_typeof(current_date), pg_typeof(localtimestamp)
--! regtype: text, text, text = timestamp with time zone | date | timestamp without time zone
select pg_typeof(current_time)::text
--! time-zones-of-time: text = time without time zone
select 'today'::date = current_date, 'yesterday'::date = current_date - 1, 'tomorrow'::date = current_date + 1, 'now'::timestamptz = now()
-- the session's zone changes what is shown and read
set timezone = 'Asia/Seoul'
select timestamptz '2024-07-01 12:00:00+00', timestamp '2024-07-01 12:00:00'::timestamptz, timestamptz '2024-07-01 20:00:00+00'::date, date_trunc('day', timestamptz '2024-07-01 20:00:00+00'), extract(hour from timestamptz '2024-07-01 20:00:00+00'), to_char(timestamptz '2024-07-01 20:00:00+00', 'YYYY-MM-DD HH24:MI TZH:TZM')
set timezone = 'UTC'
select timestamptz '2024-07-01 12:00:00+09'
set timezone = '+05:30'
select timestamptz '2024-07-01 12:00:00+00'
--! zone-offset: timestamptz = 2024-07-01 17:30:00+05:30
