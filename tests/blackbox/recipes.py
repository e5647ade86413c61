# SPDX-License-Identifier: Apache-2.0
"""The openssl recipes of the three documents that Nightjar was asked for from,
as they stand there: each command letter by letter, with what is typed at its
prompts.  A step is (folder, command, typed); a step that is known to fail is
in FAILS.  Nothing is mended here, or what people have could not be judged."""

# Country, state, locality, organization, unit, common name, e-mail.
def name(cn):
    return f'IT\nItaly\nRome\nAcme\nIT\n{cn}\nme@acme.example\n'


REQUEST_TAIL = '\n\n'           # challenge password, company name
PASS = 'geheim\ngeheim\n'       # and again

# "CrystalMQ, by Ponlakshmi".
SEED1 = [
    ('.', 'openssl genrsa -out root.key 2048', ''),
    ('.', 'openssl req -new -x509 -key root.key -out root.csr', name('root')),
    ('.', 'openssl x509 -req -days 365 -sha1 -extensions v3_ca -signkey root.key -in root.csr '
          '-out root.crt', ''),
    ('.', 'openssl genrsa -out server.key 2048', ''),
    ('.', 'openssl req -new -out server.csr -key server.key', name('server') + REQUEST_TAIL),
    ('.', 'openssl x509 -req -in server.csr -CA root.crt -CAkeyroot.key -CAcreateserial '
          '-out server.crt', ''),
]
SEED1_FAILS = {2, 5}

# The same as people mend it when it does not run: a request where a request
# is meant, and a space.
SEED1_MENDED = [
    SEED1[0],
    ('.', 'openssl req -new -key root.key -out root.csr', name('root') + REQUEST_TAIL),
    *SEED1[2:5],
    ('.', 'openssl x509 -req -in server.csr -CA root.crt -CAkey root.key -CAcreateserial '
          '-out server.crt', ''),
]

# "Secure MQTT (TLS/SSL)", the Intel Edison and Mosquitto, 2016.
SIGN2 = ('openssl x509 -req -in {0}.csr -CA ../authority/ca.crt -CAkey ../authority/ca.key '
         '-CAcreateserial -out {0}.crt -days 730')
SEED2 = [
    ('authority', 'openssl req -new -x509 -days 730 -extensions v3_ca -keyout ca.key -out ca.crt',
     PASS + name('LSaetta CA')),
    ('board', 'openssl genrsa -des3 -out client.key 2048', PASS),
    ('board', 'openssl req -out client.csr -key client.key -new',
     'geheim\n' + name('thunder10') + REQUEST_TAIL),
    ('board', SIGN2.format('client'), 'geheim\n'),
    ('broker', 'openssl genrsa -des3 -out server.key 2048', PASS),
    ('broker', 'openssl req -out server.csr -key server.key -new',
     'geheim\n' + name('iotgateway1') + REQUEST_TAIL),
    ('broker', SIGN2.format('server'), 'geheim\n'),
]
SEED2_CONF = '''listener 8883
cafile /etc/mosquitto/ca_certificates/ca.crt
certfile /etc/mosquitto/certs/server.crt
keyfile /etc/mosquitto/certs/server.key
tls_version tlsv1
'''

# "Installing a Home MQTT Broker (III)".
SEED3 = [
    ('CA', 'openssl req -newkey rsa:1024 -x509 -nodes -days 3650 -extensions v3_ca '
           '-keyout MiCA.key -out MiCA.crt -subj "/CN=Mi Casa /O=www.manolodominguez.com '
           '/emailAddress=ingeniero@manolodominguez.com"', ''),
    ('CA', 'openssl x509 -in MiCA.crt -nameopt multiline -subject -noout', ''),
    ('CA', 'openssl genrsa -out MiMosquitto.key 1024', ''),
    ('CA', 'openssl req -new -out MiMosquitto.csr -key MiMosquitto.key -subj "/CN=Mosquitto en el '
           'Fujitsu Futro /O=www.manolodominguez.com '
           '/emailAddress=ingeniero@manolodominguez.com"', ''),
    ('CA', 'openssl x509 -req -in MiMosquitto.csr -CA MiCA.crt -CAkey MiCA.key -CAcreateserial '
           '-CAserial MiCA.srl -out MiMosquitto.crt -days 3650 -extfile extensiones.txt '
           '-extensions MisExtensiones', ''),
]
SEED3_FILES = {'CA/extensiones.txt': '''[ MisExtensiones ]
basicConstraints = critical,CA:false
keyUsage = nonRepudiation, digitalSignature, keyEncipherment
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer:always
subjectAltName = IP:192.168.1.20
subjectAltName = IP:127.0.0.1
subjectAltName = DNS:localhost
subjectAltName = DNS:futro-s450
certificatePolicies = @polsection

[polsection]
policyIdentifier = 1.3.5.8
CPS.1 = "http://localhost"
userNotice.1 = @notice

[notice]
explicitText = "These extensions are for server certificates in my local network"
organization = "www.ManoloDominguez.com"
noticeNumbers = 1
'''}
SEED3_CONF = '''listener 8883
tls_version tlsv1
cafile /etc/mosquitto/certs/MiCA.crt
certfile /etc/mosquitto/certs/MiMosquitto.crt
keyfile /etc/mosquitto/certs/MiMosquitto.key
require_certificate false
'''
