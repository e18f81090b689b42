-- Everything that the attached database `built` defines, in one order.
SELECT 'table', schema_name, table_name, sql, comment FROM duckdb_tables() WHERE database_name = 'built'
UNION ALL
SELECT 'view', schema_name, view_name, sql, comment FROM duckdb_views() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'column', schema_name, table_name || '.' || column_name, data_type, comment
FROM duckdb_columns() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'function', schema_name, function_name, concat(parameters::VARCHAR, macro_definition), comment
FROM duckdb_functions() WHERE database_name = 'built' AND NOT internal
UNION ALL
SELECT 'type', schema_name, type_name, labels::VARCHAR, comment
FROM duckdb_types() WHERE database_name = 'built' AND NOT internal
ORDER BY ALL
