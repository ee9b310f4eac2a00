#!/bin/sh
# A certificate authority of one's own, and certificates for a Dask scheduler, its workers and its clients, valid for
# 30 days: to try TLS out. Where there is a company's authority, put its files into the same dask.yaml instead.
#
#   docs/clusters/certificates.sh FOLDER
#   DASK_CONFIG=FOLDER/dask.yaml dask scheduler --protocol tls --port 8786 --dashboard-address 127.0.0.1:0
#   DASK_CONFIG=FOLDER/dask.yaml dask worker tls://SCHEDULER:8786 --protocol tls --nthreads 3 \
#       --resources CPU=1 --memory-limit 0 --dashboard-address 127.0.0.1:0
#   DASK_CONFIG=FOLDER/dask.yaml swathe segment ... --cluster tls://SCHEDULER:8786
#
# Whoever has client.key can run programs on the workers. Give every host only the keys of its role.
set -eu
if [ $# -ne 1 ]; then
    echo "usage: certificates.sh FOLDER" >&2
    exit 2
fi
umask 077
mkdir -p "$1"
folder=$(cd "$1" && pwd)
new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

# shellcheck disable=SC2086
openssl req -x509 $new -days 30 -subj "/CN=swathe trial authority" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
for role in scheduler worker client; do
    # shellcheck disable=SC2086
    openssl req $new -subj "/CN=swathe $role" -keyout "$folder/$role.key" -out "$folder/$role.csr" 2>/dev/null
    openssl x509 -req -in "$folder/$role.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial \
        -days 30 -out "$folder/$role.pem" 2>/dev/null
    rm "$folder/$role.csr"
done
rm -f "$folder/ca.srl"

cat > "$folder/dask.yaml" <<YAML
distributed:
  comm:
    require-encryption: true
    tls:
      ca-file: $folder/ca.pem
      scheduler: {cert: $folder/scheduler.pem, key: $folder/scheduler.key}
      worker: {cert: $folder/worker.pem, key: $folder/worker.key}
      client: {cert: $folder/client.pem, key: $folder/client.key}
YAML
echo "$folder/dask.yaml"
