-- Run once by the MySQL image, when its volume is empty, beside the database `warehouse` (MYSQL_DATABASE): one that MLflow can use.
CREATE DATABASE IF NOT EXISTS mlflow CHARACTER SET utf8mb4;
GRANT ALL ON mlflow.* TO 'laurel'@'%';
