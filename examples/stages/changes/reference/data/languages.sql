INSERT INTO languages (code, name) VALUES ('en', 'English');
INSERT INTO languages (code, name) VALUES ('es', 'Español');
INSERT INTO languages (code, name) VALUES ('de', 'Deutsch');
