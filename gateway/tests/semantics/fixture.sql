create table things (
    id int primary key, i2 smallint, i4 int, i8 bigint, n numeric(10, 2), num numeric, f4 real, f8 double precision, b boolean,
    t text, v varchar(10), c char(4), d date, tm time, ts timestamp, tstz timestamptz, iv interval, by bytea, u uuid,
    j json, jb jsonb, a int[]
);
insert into things values
    (1, 1, 1, 10, 1.50, 1.5, 1.5, 0.1, true, 'a', 'va', 'ab', '2024-01-01', '12:34:56', '2024-01-01 00:00:00',
     '2024-01-01 00:00:00+00', '1 day', '\x00ff', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k": "v",  "l": [1, 2]}',
     '{"k": "v", "l": [1, 2]}', '{1,2}'),
    (2, 2, 2, 20, 2.25, 2.250, 2.25, 1e15, false, 'B', 'vb', 'cd  ', '2024-02-29', '00:00:00', '2024-02-29 12:34:56.789',
     '2024-02-29 12:34:56+00', '1 month 2 hours', '', 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', '{"k": null}', '{"k": 1}', '{}'),
    (3, 3, 3, 30, -3.00, 1000000.000001, -1, 'NaN', null, 'b', null, null, '2024-03-01', '23:59:59.999999',
     '2024-03-01 23:59:59.999999', '2024-03-01 03:00:00+00', '-1 day', null, null, '[]', '[]', '{3,NULL}'),
    (4, null, null, null, null, null, null, null, true, null, null, null, null, null, null, null, null, null, null, null, null, null);
create table longs (id int primary key, x numeric(100, 3));
insert into longs values (1, 1e90), (2, 2.5);
