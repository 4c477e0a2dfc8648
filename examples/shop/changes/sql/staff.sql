-- The shop's own people order too; they get a discount elsewhere.
INSERT INTO customers (id, email, name) VALUES (1, 'ana@shop.example', 'Ana');
INSERT INTO customers (id, email, name) VALUES (2, 'bruno@shop.example', 'Bruno');
