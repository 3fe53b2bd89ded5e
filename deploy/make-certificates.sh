#!/bin/sh
# Makes a certificate authority, the broker's certificate and one for each trap or listener, and says where they belong:
#
#   deploy/make-certificates.sh certificates mqtt.example.org,192.0.2.7 oak elm listener
#
# The first argument is the folder, the second what the broker is called by those that connect (names and addresses), and
# the rest are users. A trap's is its --deployment. What is there already is kept, so that more can be made later. To renew
# one, delete its .crt and .key first. Nobody renews a trap's in a forest, so they are good for 10 years, the authority 20.
set -eu
umask 077

fail() {
    echo "make-certificates.sh: $1" >&2
    exit "${2:-1}"
}

[ $# -ge 2 ] || fail "expected a folder, the broker's names and then users, as: certificates mqtt.example.org oak" 2
command -v openssl >/dev/null || fail "expected openssl, found none; sudo apt install openssl"
folder=$1 hosts=$2
shift 2

# Everything is checked before anything is made.
for name in "$@"; do
    case $name in
    ca | server) fail "expected a trap's name, found $name, which is a file of its own; choose another" 2 ;;
    -* | "" | *[!A-Za-z0-9_-]*)
        fail "expected a name of letters, digits, _ and -, found '$name'; only these stand in topics as they are" 2
        ;;
    esac
    [ ${#name} -le 64 ] || fail "expected a name of at most 64 letters, found ${#name}: $name" 2
done
names="DNS:localhost,IP:127.0.0.1,IP:::1"
rest=$hosts,
while [ -n "$rest" ]; do
    host=${rest%%,*} rest=${rest#*,}
    case $host in
    -* | "" | *[!A-Za-z0-9.:-]* | *[!0-9A-Fa-f.:]*:* | *:*[!0-9A-Fa-f.:]*)
        fail "expected names or addresses of the broker with commas between them and no ports, found '$hosts'" 2
        ;;
    *:*) kind=IP ;;
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
    esac
    case ",$names," in *",$kind:$host,"*) ;; *) names="$names,$kind:$host" ;; esac
done
for name in ca server "$@"; do
    for pair in crt/key key/crt; do
        if [ -e "$folder/$name.${pair%/*}" ] && [ ! -e "$folder/$name.${pair#*/}" ]; then
            fail "expected $name.crt and $name.key in $folder, found $name.${pair%/*} alone; bring or delete the other"
        fi
    done
done
if [ -e "$folder/server.crt" ]; then
    for name in $(echo "$names" | tr , ' '); do
        case $name in IP:*) check=-checkip ;; *) check=-checkhost ;; esac
        openssl x509 -in "$folder/server.crt" -noout "$check" "${name#*:}" | grep -q 'does match' ||
            fail "expected ${name#*:} in $folder/server.crt, found other names; delete server.crt and server.key, and begin again"
    done
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT

openssl_or_fail() {
    openssl "$@" 2>"$work/said" || fail "openssl $1 failed: $(tail -n 1 "$work/said")"
}

# make NAME COMMON-NAME DAYS EXTENSIONS: NAME.key and NAME.crt, whole or not at all, unless they are there.
make() {
    if [ -e "$folder/$1.crt" ]; then
        echo "kept  $folder/$1.crt"
        return
    fi
    printf '[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectKeyIdentifier=hash\n%s\n' "$4" >"$work/cnf"
    openssl_or_fail genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
    serial=0x$(openssl rand -hex 16)
    if [ "$1" = ca ]; then
        openssl_or_fail req -x509 -new -key "$work/key" -subj "/CN=$2" -days "$3" -set_serial "$serial" \
            -config "$work/cnf" -extensions ext -out "$work/crt"
    else
        openssl_or_fail req -new -key "$work/key" -subj "/CN=$2" -config "$work/cnf" -out "$work/csr"
        openssl_or_fail x509 -req -in "$work/csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -days "$3" \
            -set_serial "$serial" -extfile "$work/cnf" -extensions ext -out "$work/crt"
    fi
    chmod 644 "$work/crt"
    mv "$work/key" "$folder/$1.key"
    mv "$work/crt" "$folder/$1.crt"
    echo "made  $folder/$1.crt"
}

end="authorityKeyIdentifier=keyid
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature"
make ca "edge-watch authority" 7300 "basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign"
make server "edge-watch broker" 3650 "$end
extendedKeyUsage=serverAuth
subjectAltName=$names"
for name in "$@"; do
    make "$name" "$name" 3650 "$end
extendedKeyUsage=clientAuth"
done

cat <<END

The broker is $(openssl x509 -in "$folder/server.crt" -noout -ext subjectAltName | tail -n 1 | sed 's/^ *//')
On its machine:
  sudo install -m 644 ca.crt /etc/mosquitto/ca_certificates/edge-watch-ca.crt
  sudo install -m 644 server.crt /etc/mosquitto/certs/edge-watch-server.crt
  sudo install -m 600 -o mosquitto server.key /etc/mosquitto/certs/edge-watch-server.key
END
for name in "$@"; do
    case $name in
    listener | homeassistant) echo "For $name: ca.crt, $name.crt and $name.key (--ca, --certificate, --key)" ;;
    *)
        cat <<END
On the trap $name (--deployment $name; deploy/edge-watch.service takes them from there):
  sudo install -m 644 -D ca.crt /etc/edge-watch/ca.crt
  sudo install -m 644 -D $name.crt /etc/edge-watch/trap.crt
  sudo install -m 600 -D $name.key /etc/edge-watch/trap.key
END
        ;;
    esac
done
echo "Keep ca.key where nobody else can read it, and on none of these machines."
