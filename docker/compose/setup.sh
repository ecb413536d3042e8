#!/bin/sh
# Makes up the passwords and keys of docker/compose.yml, once: a later start finds them. One folder for each user, 0700.
set -eu
umask 077

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# folder USER: opens a folder for what this user alone may read.
give() { chown -R "$2" "/secrets/$1"; }

chmod 0755 /secrets
chown 10002:10002 /archive
# A folder is a bucket.
[ -d /archive/walferry ] || { mkdir /archive/walferry && chown 10002:10002 /archive/walferry; }
[ ! -e /secrets/complete ] || exit 0

rm -rf /secrets/postgres /secrets/walferry /secrets/s3 /secrets/grafana
mkdir /secrets/postgres /secrets/walferry /secrets/s3 /secrets/grafana

password=$(secret)
echo "$password" >/secrets/postgres/password
echo "postgres:5432:*:postgres:$password" >/secrets/postgres/pgpass

password=$(secret)
echo "$password" >/secrets/postgres/walferry
printf 'postgres:5432:%s:walferry:%s\n' replication "$password" postgres "$password" >/secrets/walferry/pgpass

key=$(secret)
printf 'export ROOT_ACCESS_KEY=walferry ROOT_SECRET_KEY=%s\n' "$key" >/secrets/s3/root
printf '[default]\naws_access_key_id = walferry\naws_secret_access_key = %s\n' "$key" >/secrets/walferry/s3

secret >/secrets/grafana/password

give postgres 999:999
give walferry 10001:10001
give s3 10002:10002
give grafana 472:0
: >/secrets/complete
