#!/bin/sh
# Makes the two roles and the database when the container's data directory is new.
set -eu
psql -v ON_ERROR_STOP=1 --username postgres \
    -v owner="$(cat /run/secrets/owner_password)" -v app="$(cat /run/secrets/app_password)" << 'SQL'
CREATE ROLE strongroom LOGIN PASSWORD :'owner';
CREATE ROLE strongroom_app LOGIN PASSWORD :'app';
CREATE DATABASE strongroom OWNER strongroom;
SQL
