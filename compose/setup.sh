#!/bin/sh
# Makes, once, what the fleet of docker-compose.yml shares before it starts, each thing in the volume of who needs it: a
# certificate authority and certificates, the servers' master key, the database's password.
set -eu
cd /made
if [ -e balancer/done ]; then
  echo "everything is there already"
  exit 0
fi
umask 077

# As whom the programs run: the images of this project, and the balancer's.
ours=65532:65532
balancer=99:99

work=$(mktemp -d)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Edge Hive demo authority" \
  -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
  -keyout "$work/ca-key.pem" -out "$work/ca.pem" 2>/dev/null

# A key and its chain, with the authority in it: so the programs can check themselves.
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$work/key.pem" -out "$work/request.pem" 2>/dev/null
  printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n' "$1" > "$work/extensions"
  openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -CAcreateserial -days 825 \
    -extfile "$work/extensions" -out "$work/cert.pem" 2>/dev/null
  cat "$work/ca.pem" >> "$work/cert.pem"
}

# For one program: its certificate and the authority.
give() {
  mkdir -p "$1/tls"
  cp "$work/cert.pem" "$work/key.pem" "$1/tls/"
  cp "$work/ca.pem" "$1/"
}

head -c 32 /dev/urandom > "$work/master.key"
password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')

certificate auth.localhost
for server in server-1 server-2; do
  give "$server"
  cp "$work/master.key" "$server/"
  printf 'db:5432:*:authz:%s\n' "$password" > "$server/pgpass"
  chown -R "$ours" "$server"
done
cat "$work/cert.pem" "$work/key.pem" > balancer/auth.pem
cp "$work/ca.pem" balancer/

for node in north south west; do
  certificate "$node.localhost"
  give "$node"
  chown -R "$ours" "$node"
done

# The database's own start-up reads it as root.
printf '%s' "$password" > db/password

# The authority's key is kept nowhere: it can sign nothing else.
rm -r "$work"
touch balancer/done
chown -R "$balancer" balancer
echo "made an authority, certificates, a master key and a password"
