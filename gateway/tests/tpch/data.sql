insert into region select i, (array['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[i + 1], 'r' || i from generate_series(0, 4) i;
insert into nation select i, (array['ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA',
        'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN', 'KENYA', 'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA',
        'SAUDI ARABIA', 'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES'])[i + 1],
    (array[0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1])[i + 1], 'n' || i
from generate_series(0, 24) i;
insert into supplier select i, 'Supplier#' || lpad(i::text, 9, '0'), 'street ' || i, i % 25, lpad((10 + i % 25)::text, 2, '0') || '-' || lpad(i::text, 12, '0'),
    (i * 7919 % 1000000) / 100.0 - 900, case when i % 17 = 0 then 'slow Customer and Complaints' else 'fast ' || i end
from generate_series(1, 60) i;
insert into customer select i, 'Customer#' || lpad(i::text, 9, '0'), 'road ' || i, i * 7 % 25,
    lpad((10 + i * 7 % 25)::text, 2, '0') || '-' || lpad(i::text, 12, '0'), (i * 6007 % 1000000) / 100.0 - 900,
    (array['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'HOUSEHOLD', 'MACHINERY'])[i % 5 + 1], 'comment ' || i
from generate_series(1, 300) i;
insert into part select i, (array['green', 'blue', 'forest', 'red', 'antique'])[i % 5 + 1] || ' ' || (array['almond', 'ivory', 'khaki'])[i % 3 + 1],
    'Manufacturer#' || i % 5 + 1, 'Brand#' || i % 5 + 1 || i % 4 + 1,
    (array['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO'])[i % 6 + 1] || ' ' ||
        (array['ANODIZED', 'BURNISHED', 'PLATED', 'POLISHED', 'BRUSHED'])[i % 5 + 1] || ' ' ||
        (array['TIN', 'NICKEL', 'BRASS', 'STEEL', 'COPPER'])[i / 2 % 5 + 1],
    i % 50 + 1, (array['SM CASE', 'SM BOX', 'MED BAG', 'MED BOX', 'LG CASE', 'LG BOX', 'JUMBO PKG', 'WRAP BOX'])[i % 8 + 1], 900 + i / 10.0, 'p' || i
from generate_series(1, 200) i;
insert into partsupp select p, (p * 7 + s * 13) % 60 + 1, (p * 31 + s * 97) % 9999 + 1, ((p * 17 + s * 41) % 1000) / 1.0 + 0.37, 'ps'
from generate_series(1, 200) p, generate_series(0, 3) s;
insert into orders select i * 4, i * 13 % 200 + 1, (array['O', 'F', 'P'])[i % 3 + 1], 1000 + i * 37 % 100000 / 3.0,
    date '1992-01-01' + i * 7 % 2400, (array['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'])[i % 5 + 1],
    'Clerk#' || lpad((i % 100)::text, 9, '0'), 0, case when i % 11 = 0 then 'special packages requests' else 'order ' || i end
from generate_series(1, 1500) i;
insert into lineitem select o_orderkey, p, (p * 7 + (n % 4) * 13) % 60 + 1, n, (o_orderkey + n * 11) % 50 + 1,
    ((o_orderkey * 31 + n * 977) % 100000) / 100.0 + 900, (o_orderkey + n) % 11 / 100.0, (o_orderkey + n * 3) % 9 / 100.0,
    (array['A', 'N', 'R'])[(o_orderkey / 4 + n) % 3 + 1], case when o_orderdate > date '1995-06-17' then 'O' else 'F' end,
    o_orderdate + (n * 17 % 121 + 1)::int, o_orderdate + 60, o_orderdate + (n * 17 % 121 + 1 + n * 5)::int,
    (array['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[n % 4 + 1],
    (array['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'])[(o_orderkey / 4 + n) % 7 + 1], 'l' || n
from (select *, (o_orderkey * 5 / 4 + n * 29) % 200 + 1 as p from orders, generate_series(1, 5) n) x where (o_orderkey / 4 + n) % 6 > 0;
-- orders with a great quantity
update lineitem set l_quantity = 50 + l_linenumber where l_orderkey % 400 = 0;
analyze;
