-- Objects that stay after their manifest went, until what has to be done about it is done.
ALTER TABLE objects ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
-- Of a held object without a manifest: when its deletion takes effect. NULL while a manifest defines it.
ALTER TABLE objects ADD COLUMN deletion_at TEXT;
-- Its deletion is final: a manifest of its name is another object.
ALTER TABLE objects ADD COLUMN deletion_final INTEGER NOT NULL DEFAULT 0;
