# Certificates for the servers and for tests of what must be refused. Sourced, with bash.
# shellcheck shell=bash
#
#   ca.pem                       signed all of these
#   server.pem, server.key       for localhost and 127.0.0.1
#   client.pem, client.key       for the user trunkline
#   wrong-host.pem, .key         a server's, for elsewhere.example
#   expired.pem, .key            a server's, for localhost and 127.0.0.1, valid in January 2020
#   other-ca.pem                 signed nothing here

tls_make() { # DIR
    [ ! -d "$1" ] || return 0
    say tls "making certificates"
    local tmp
    tmp=$(mktemp -d "$STATE/tls.XXXXXX")
    (
        cd "$tmp"
        tls_authority ca "Trunkline test CA"
        tls_authority other-ca "Another test CA"
        local here=DNS:localhost,IP:127.0.0.1
        tls_certificate server localhost "$here" serverAuth
        tls_certificate wrong-host elsewhere.example DNS:elsewhere.example serverAuth
        tls_certificate client "$SERVICE_USER" "DNS:$SERVICE_USER" clientAuth
        tls_certificate expired localhost "$here" serverAuth -startdate 20200101000000Z -enddate 20200131000000Z
        rm -rf ca.key other-ca.key ./*.csr ./*.conf issued
    ) > "$STATE/tls.log" 2>&1 || { cat "$STATE/tls.log" >&2; die "openssl could not make the certificates"; }
    chmod 755 "$tmp"
    mv "$tmp" "$1"
}

tls_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

tls_authority() { # FILE NAME
    tls_key "$1"
    openssl req -new -x509 -key "$1.key" -out "$1.pem" -subj "/CN=$2" -days 3650 \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
}

# `openssl ca` and not the simpler `openssl x509`, because it alone takes dates of the past.
tls_certificate() { # FILE COMMON-NAME ALTERNATIVE-NAMES USAGE [OPTION...]
    local file=$1 usage=$4
    mkdir -p issued
    : > issued/index
    cat > "$file.conf" << CONF
[ca]
default_ca = ours
[ours]
database = issued/index
new_certs_dir = issued
rand_serial = yes
default_md = sha256
default_days = 3650
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = $usage
subjectAltName = $3
CONF
    tls_key "$file"
    openssl req -new -key "$file.key" -out "$file.csr" -subj "/CN=$2"
    shift 4
    openssl ca -batch -notext -config "$file.conf" -cert ca.pem -keyfile ca.key -in "$file.csr" -out "$file.pem" "$@"
}
