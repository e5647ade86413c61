#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The device "@NJ_ID@" with Mosquitto's clients (apt install mosquitto-clients):
#
#     ./mosquitto.sh sub -t 'devices/@NJ_ID@/#' -v
#     ./mosquitto.sh pub -t devices/@NJ_ID@/hello -m 'hello from @NJ_ID@'
#
# One device connects once under a client id; these are @NJ_ID@:sub and
# @NJ_ID@:pub, and a further one needs -i @NJ_ID@:NAME.  Further options are those of mosquitto_sub and mosquitto_pub.  The broker's
# name is checked; --insecure would take that away.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
verb=${1:?sub, pub or rr}
shift
exec "mosquitto_$verb" -h '@NJ_HOST@' -p @NJ_PORT@ --cafile "$here/ca.crt" \
	--cert "$here/client.crt" --key "$here/client.key" -i "@NJ_ID@:$verb" "$@"
