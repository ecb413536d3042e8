#!/bin/bash
# Runs once, in the new cluster, as the image's entrypoint does it: the role that receives, and its way in.
set -eo pipefail # not -u: the entrypoint sources what is not executable, and does without

# psql reads the password itself, so that it stands in no command line.
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat /secrets/postgres/walferry`
CREATE ROLE walferry LOGIN REPLICATION PASSWORD :'password';
SQL

# The image lets ordinary connections in from everywhere ("host all all all"), but no replication.
echo 'host replication walferry samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
