# SPDX-License-Identifier: Apache-2.0
"""The table of mistakes with TLS and certificates: how each is made, which
client trips over it, who names the cause, and what mends it.

docs/mistakes.md is written from it (python3 tests/blackbox/mistakes.py), and
test_mistakes.py plays it.  A row:

    name    what people do
    seen    where it was seen, as owner/repository#number, or a seed document
    client  who trips over it
    make    makes the mistake: a function of the World (world.py)
    says    who names the cause (log, reload, doctor, inspect) and the words
    mend    what the text advises, applied
"""
import base64
import os
import time

from world import KEY

ROWS = []


def row(name, seen, client, says, mend_text):
    """Decorates a generator: up to its yield it makes the mistake, after it
    it mends it.  It yields how the client is started."""
    def add(fn):
        ROWS.append({'name': name, 'seen': seen, 'client': client, 'says': says,
                     'mend_text': mend_text, 'play': fn, 'id': fn.__name__})
        return fn
    return add


# -- the client has the wrong things ----------------------------------------

@row('another CA as --cafile', 'thingsboard/thingsboard#13232', 'mosquitto_pub',
     {'log': 'does not trust the CA of our certificate', 'doctor': 'not among the trusted CAs'},
     'give the client the ca.crt of this broker')
def wrong_ca(w):
    yield w.mosquitto, w.tls(cafile=w.pki.stranger_ca)
    yield w.mosquitto, w.tls()


@row('no CA at all: the system\'s are asked', 'eclipse-mosquitto/mosquitto#2988', 'mosquitto_pub',
     {'log': 'does not trust the CA of our certificate', 'doctor': 'no --cafile was given'},
     '--cafile ca.crt')
def no_ca(w):
    yield w.mosquitto, w.tls(cafile=None) + ['--tls-use-os-certs']
    yield w.mosquitto, w.tls()


@row('the server\'s certificate as --cafile, instead of its CA\'s', 'espressif/esp-mqtt#84',
     'mosquitto_pub',
     {'log': 'does not trust the CA of our certificate', 'doctor': 'not a CA certificate'},
     'give the CA\'s certificate')
def server_as_ca(w):
    yield w.mosquitto, w.tls(cafile=w.pki.server[0])
    yield w.mosquitto, w.tls()


@row('no client certificate where one is required', 'eclipse-mosquitto/mosquitto#64',
     'mosquitto_pub',
     {'log': 'sent no certificate', 'doctor': 'none was given|sent no certificate'},
     'nightjar ca device NAME, then --cert and --key')
def no_client_certificate(w):
    yield w.mosquitto, w.mutual(None)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a client certificate of another CA', 'home-assistant/addons#2350', 'mosquitto_pub',
     {'log': "issued by 'Stranger CA', which is not among", 'doctor': 'Stranger CA'},
     'one that the broker\'s CA issued')
def stranger(w):
    yield w.mosquitto, w.mutual(w.pki.stranger)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the client certificate has expired', 'eclipse-mosquitto/mosquitto#2988', 'mosquitto_pub',
     {'log': "'expired'.* expired on 2020-02-01", 'doctor': 'expired on 2020'},
     'nightjar ca device ID --again')
def expired_client(w):
    yield w.mosquitto, w.mutual(w.pki.expired)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the client certificate is not valid yet: made on a machine whose clock is ahead',
     'espressif/esp-at#432', 'mosquitto_pub',
     {'log': 'not valid before', 'doctor': 'valid only from'}, 'set the clocks')
def early_client(w):
    yield w.mosquitto, w.mutual(w.made('early', start='20400101000000Z', end='20410101000000Z'))
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the client certificate was revoked', 'eclipse-mosquitto/mosquitto#524', 'mosquitto_pub',
     {'log': 'is revoked', 'doctor': 'revoked'}, 'nightjar ca device ID --again')
def revoked_client(w):
    yield w.mosquitto, w.mutual(w.pki.revoked)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a server\'s certificate used by a client (extended key usage)',
     'eclipse-paho/paho.mqtt.c#508', 'mosquitto_pub',
     {'log': 'may not be used for this', 'doctor': 'clientAuth'}, 'nightjar ca device ID')
def server_certificate_as_client(w):
    yield w.mosquitto, w.mutual(w.pki.wrong_usage)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('--key belongs to another certificate', 'eclipse-mosquitto/mosquitto#2534', 'mosquitto_pub',
     {'inspect': 'belongs to none of the certificates', 'doctor': 'belongs to none'},
     'use the pair of files that was made together')
def other_key(w):
    yield w.mosquitto, w.mutual((w.pki.client[0], w.pki.server[1]))
    yield w.mosquitto, w.mutual(w.pki.client)


@row('--cert and --key exchanged', 'owntracks/tools#6', 'nightjar pub',
     {'inspect': 'named like a key and holds none|named like a certificate', 'says': 'private key'},
     'exchange them')
def exchanged(w):
    cert, key = w.copy(w.pki.client[0], 'x.crt'), w.copy(w.pki.client[1], 'x.key')
    os.rename(cert, cert + '~')
    os.rename(key, cert)
    os.rename(cert + '~', key)
    yield w.nightjar, w.mutual((cert, key))
    yield w.nightjar, w.mutual((key, cert))


@row('the client\'s key has a passphrase and nobody gives it', 'seed 2 (Edison)', 'nightjar pub',
     {'inspect': 'encrypted, and was not opened', 'says': 'passphrase'}, '--keypass-file FILE')
def locked_client_key(w):
    pair = w.pki.client[0], w.pki.authority.encrypt_key(w.pki.client[1], 'geheim')
    yield w.nightjar, w.mutual(pair)
    yield w.nightjar, w.mutual(pair) + ['--keypass-file', w.write('word', 'geheim\n')]


@row('the client\'s key is encrypted with DES, which OpenSSL 3 does not open', 'seed 1 (rsa -des)',
     'nightjar pub', {'says': 'in an old way .*-provider legacy'},
     'openssl pkey -provider legacy -provider default')
def key_of_des(w):
    word, new = w.write('word', 'geheim\n'), w.path('new.key')
    old = w.sealed_oldly(w.pki.client[1])
    yield w.nightjar, w.mutual((w.pki.client[0], old)) + ['--keypass-file', word]
    w.openssl('pkey', '-provider', 'legacy', '-provider', 'default', '-in', old, '-passin',
              'pass:geheim', '-aes256', '-passout', 'pass:geheim', '-out', new)
    yield w.nightjar, w.mutual((w.pki.client[0], new)) + ['--keypass-file', word]


@row('the client\'s key file is not there', 'eclipse-mosquitto/mosquitto#873', 'nightjar pub',
     {'inspect': 'No such file', 'says': 'No such file'}, 'check the path')
def missing_client_key(w):
    yield w.nightjar, w.mutual((w.pki.client[0], w.path('nowhere.key')))
    yield w.nightjar, w.mutual(w.pki.client)


# -- the file is not what programs read -------------------------------------

def spoiled(w, how):
    with open(w.pki.ca, encoding='ascii') as f:
        return w.write('spoiled.crt', how(f.read()))


def converted(w, path, *more):
    return w.write('converted', w.inspect('--pem', path, *more))


def spoiled_row(name, seen, words, how, mends='nightjar inspect --pem FILE >NEW'):
    def play(w):
        bad = spoiled(w, how)
        w.subject = [bad]
        yield w.mosquitto, w.tls(cafile=bad)
        yield w.mosquitto, w.tls(cafile=converted(w, bad) if '--pem' in mends else w.pki.ca)
    play.__name__ = 'spoiled_' + name.split()[-1].strip('()').replace('-', '').lower()
    row(name, seen, 'mosquitto_pub', {'inspect': words, 'says_nightjar': words}, mends)(play)


spoiled_row('ca.crt in UTF-16, from PowerShell or Notepad (UTF-16)', 'esp8266/Arduino#5591',
            'UTF-16', lambda s: b'\xff\xfe' + s.encode('utf-16-le'))
spoiled_row('ca.crt with its line ends written out as \\n, from JSON or a variable (one-line)',
            'tronbyt/firmware-esp32#152', 'written out as', lambda s: s.replace('\n', '\\n').encode())
spoiled_row('ca.crt without BEGIN and END lines (bare)', 'revk/xESP32-Faikout#466',
            'no -----BEGIN', lambda s: ''.join(s.splitlines()[1:-1]).encode())
spoiled_row('ca.crt from a word processor or web page, its hyphens changed (dashes)',
            'espressif/esp-idf#5177', 'five plain hyphens',
            lambda s: s.replace('-----', '\u2014').encode())
spoiled_row('ca.crt cut off in copying (cut)', 'espressif/esp-idf#5757', 'cut off',
            lambda s: s[:300].encode(), 'copy the whole file again')
spoiled_row('two files put together, the first without a line end: cat a b (glued)', 'everywhere',
            'BEGIN behind an END', lambda s: (s.rstrip('\n') + s).encode())
spoiled_row('ca.crt with blanks for its line ends, from a variable of a shell (joined)', 'everywhere',
            'blanks where its line ends were', lambda s: s.replace('\n', ' ').encode())
spoiled_row('a secret of Kubernetes as it stands in its manifest (base64)', 'everywhere',
            'Kubernetes', lambda s: base64.b64encode(s.encode()), 'base64 -d')
spoiled_row('a web page saved as ca.crt (html)', 'emqx/MQTTX#1076', 'web page',
            lambda s: b'<!DOCTYPE html><html>404</html>', 'download it again')
spoiled_row('an empty ca.crt (empty)', 'eclipse-mosquitto/mosquitto#2416', 'is empty',
            lambda s: b'', 'copy it again')


@row('DER for PEM', 'espressif/esp-idf#112', 'mosquitto_pub',
     {'inspect': 'DER form', 'says_nightjar': 'DER form'}, 'nightjar inspect --pem FILE >NEW')
def der(w):
    bad = w.path('ca.der')
    w.openssl('x509', '-in', w.pki.ca, '-outform', 'DER', '-out', bad)
    w.subject = [bad]
    yield w.mosquitto, w.tls(cafile=bad)
    yield w.mosquitto, w.tls(cafile=converted(w, bad))


@row('PKCS#12 given with a wrong password', 'strongswan/strongswan-docs#5', 'curl',
     {'inspect': 'no password that was given opens it'}, 'give its own password')
def p12_password(w):
    p12 = w.p12('geheim')
    w.subject = [p12, '--password-file', w.write('word', 'falsch\n')]
    yield w.curl_p12, [p12, 'falsch']
    yield w.curl_p12, [p12, 'geheim']


@row('PKCS#12 of an old program (RC2), which OpenSSL 3 refuses', 'gridcf/gct#202', 'curl',
     {'inspect': 'RC2'}, 'nightjar inspect --pem and --pem-key')
def p12_rc2(w):
    p12, word = w.p12('geheim', '-legacy'), w.write('word', 'geheim\n')
    w.subject = [p12, '--password-file', word]
    yield w.curl_p12, [p12, 'geheim']
    pair = [w.write(n, w.inspect(o, p12, '--password-file', word))
            for n, o in (('p.crt', '--pem'), ('p.key', '--pem-key'))]
    yield w.mosquitto, w.mutual(pair)


# -- the wrong port, protocol or version ------------------------------------

@row('plain MQTT to the TLS port', 'jaronmcd/rtl-haos#109', 'mosquitto_pub',
     {'log': 'plain MQTT|without TLS', 'doctor': 'speaks TLS'}, 'give the client --cafile')
def plain_to_tls(w):
    w.doctor_args = ['--no-tls']
    yield w.mosquitto, w.plain(w.port_tls)
    yield w.mosquitto, w.tls()


@row('TLS to the plain port', 'espressif/esp-mqtt#44', 'mosquitto_pub',
     {'log': 'TLS to a plain port', 'doctor': 'without TLS'}, 'use the port of a TLS listener')
def tls_to_plain(w):
    yield w.mosquitto, w.tls(port=w.port_plain)
    yield w.mosquitto, w.tls()


@row('HTTP to an MQTT port', 'sclausen/ngx-mqtt#45', 'curl',
     {'log': 'HTTP or WebSocket to an MQTT port'}, 'use the port of a WebSocket listener')
def http_to_mqtt(w):
    yield w.curl, [f'http://localhost:{w.port_plain}/']
    yield w.nightjar, w.plain(w.port_ws) + ['--ws']


@row('http:// to the TLS port', 'everywhere', 'curl',
     {'log': 'plain HTTP on a TLS port.*https:// or wss://'}, 'https:// or wss://')
def http_to_tls(w):
    yield w.curl, [f'http://localhost:{w.port_tls}/']
    yield w.mosquitto, w.tls()


@row('MQTT to a WebSocket port', 'eclipse-paho/paho.mqtt.c#18', 'mosquitto_pub',
     {'log': 'MQTT without WebSocket', 'doctor': 'HTTP'}, 'use the port of an MQTT listener, or --ws')
def mqtt_to_websocket(w):
    yield w.mosquitto, w.plain(w.port_ws)
    yield w.nightjar, w.plain(w.port_ws) + ['--ws']


@row('WebSocket to an MQTT port', 'eclipse-mosquitto/mosquitto#2854', 'nightjar pub',
     {'log': 'HTTP or WebSocket to an MQTT port'}, 'leave --ws out, or use the other port')
def websocket_to_mqtt(w):
    yield w.nightjar, w.plain(w.port_plain) + ['--ws']
    yield w.nightjar, w.plain(w.port_plain)


def hello_row(name, what, seen, words, mends, bad, good):
    """What openssl s_client can say of itself."""
    def play(w):
        yield w.s_client, bad
        yield w.s_client, good
    play.__name__ = name
    row(what, seen, 'openssl s_client', {'log': words}, mends)(play)


hello_row('tls10', 'a client that knows only TLS 1.0', 'seed 2 and 3 (tls_version tlsv1)',
          'at most TLS 1.0', 'use a client that knows TLS 1.2 or 1.3',
          ['-tls1', '-cipher', 'ALL:@SECLEVEL=0'], ['-tls1_2'])
hello_row('tls11', 'a client that knows only TLS 1.1', 'eclipse-mosquitto/mosquitto#1384',
          'at most TLS 1.1', 'use a client that knows TLS 1.2 or 1.3',
          ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'], ['-tls1_3'])
def tls13_only(w):
    w.add_line('tls_version tlsv1.3')
    yield w.s_client, ['-tls1_2']
    w.accepts(w.pki.server)
    yield w.s_client, ['-tls1_2']


row('a client without TLS 1.3 at a listener with nothing else', 'everywhere', 'openssl s_client',
    {'log': "at most TLS 1.2, this listener serves TLS 1.3 only.*set 'tls_version tlsv1.2'"},
    'tls_version tlsv1.2')(tls13_only)
hello_row('old_ciphers', 'a client that offers only old ciphers', 'eclipse-mosquitto/mosquitto#343',
          'no shared cipher', 'update the client',
          ['-tls1_2', '-cipher', 'AES128-SHA:@SECLEVEL=0'], ['-tls1_2'])


@row('ALPN of a cloud\'s broker', 'AWS IoT on port 443', 'openssl s_client',
     {'log': r'application protocol \(ALPN\)', 'doctor': 'ALPN'}, 'ALPN "mqtt", or none')
def alpn(w):
    w.doctor_args = w.tls()[4:] + ['--tls-alpn', 'x-amzn-mqtt-ca']
    yield w.s_client, ['-alpn', 'x-amzn-mqtt-ca']
    yield w.s_client, ['-alpn', 'mqtt']


hello_row('clock_behind', 'the client\'s clock is wrong by years', 'esp8266/Arduino#5022',
          'its clock is wrong', 'set the client\'s clock',
          ['-attime', '946684800', '-verify_return_error'], ['-verify_return_error'])
hello_row('clock_ahead', 'the client\'s clock is years ahead', 'arendst/Tasmota#9757',
          "set the client's clock", 'set the client\'s clock',
          ['-attime', '2524608000', '-verify_return_error'], ['-verify_return_error'])


@row('a proxy in between speaks the PROXY protocol, the listener does not', 'behind HAProxy',
     'a proxy\'s header', {'log': 'PROXY header to a listener'}, 'enable_proxy_protocol 2')
def proxy_not_expected(w):
    yield w.proxied, [w.port_plain]
    yield w.proxied, [w.port_proxy]


@row('the listener wants the PROXY protocol, and a client connects directly',
     'behind HAProxy', 'mosquitto_pub',
     {'log': 'PROXY header', 'doctor': 'waits for a PROXY header'}, 'connect to the proxy')
def proxy_expected(w):
    yield w.mosquitto, w.plain(w.port_proxy)
    yield w.mosquitto, w.plain(w.port_plain)


@row('connected by an address that is not in the certificate (IP only in CN, or nowhere)',
     'mqttjs/MQTT.js#1077', 'Python ssl',
     {'log': 'certificate', 'doctor': 'valid for localhost'}, 'nightjar ca server ADDRESS')
def address_not_in_certificate(w):
    w.serve(w.named('DNS:localhost'))
    w.doctor_target = '127.0.0.1'
    yield w.python, ['127.0.0.1']
    w.serve(w.pki.server)
    yield w.python, ['127.0.0.1']


@row('another name asked for (SNI, --servername) than the certificate has', 'dojot/dojot#1166',
     'openssl s_client', {'log': 'asked for other.example|certificate', 'doctor': 'valid for localhost'},
     'connect to one of its names')
def sni(w):
    w.doctor_args = w.tls()[4:] + ['--servername', 'other.example']
    yield w.s_client, ['-servername', 'other.example', '-verify_hostname', 'other.example',
                       '-verify_return_error']
    yield w.s_client, ['-servername', 'localhost', '-verify_hostname', 'localhost',
                       '-verify_return_error']


@row('nothing listens on the port', 'everywhere', 'mosquitto_pub',
     {'doctor': 'nothing listens'}, 'the port of the listener')
def no_port(w):
    w.doctor_args = ['-p', w.port_none]
    yield w.mosquitto, w.tls(port=w.port_none)
    yield w.mosquitto, w.tls()


# -- logins over TLS ---------------------------------------------------------

@row('no user name where one is needed', 'espressif/esp-mqtt#44', 'mosquitto_pub',
     {'log': 'no user name was given', 'doctor': 'no user name was given'}, 'nightjar passwd FILE USER')
def no_login(w):
    w.doctor_args = ['-p', w.port_login, '--cafile', w.pki.ca]
    yield w.mosquitto, w.tls(port=w.port_login)
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret']


@row('a wrong password', 'everywhere', 'mosquitto_pub',
     {'log': 'the password is wrong', 'doctor': 'the password is wrong'}, 'nightjar passwd FILE USER')
def wrong_password(w):
    w.doctor_args = ['-p', w.port_login, '--cafile', w.pki.ca, '-u', 'joe', '-P', 'x']
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'x']
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret']


@row('a pre-shared key under an unknown identity', 'everywhere',
     'mosquitto_pub', {'log': "'nobody'", 'doctor': 'knows no such PSK'}, 'add it to psk_file')
def psk_identity(w):
    yield w.mosquitto, w.psk('nobody', KEY)
    yield w.mosquitto, w.psk('sensor', KEY)


@row('a pre-shared key that differs from the broker\'s', 'everywhere',
     'mosquitto_pub', {'log': "'sensor'", 'doctor': 'has another key for this identity'},
     'compare --psk with psk_file')
def psk_key(w):
    yield w.mosquitto, w.psk('sensor', '00' * 32)
    yield w.mosquitto, w.psk('sensor', KEY)


@row('a client with --cafile at a listener for pre-shared keys alone',
     'eclipse-paho/paho.mqtt.python#451', 'mosquitto_pub',
     {'log': 'offered no shared key', 'doctor': 'offered no shared key'},
     '--psk and --psk-identity')
def certificate_to_psk(w):
    yield w.mosquitto, w.tls(port=w.port_psk)
    yield w.mosquitto, w.psk('sensor', KEY)


@row('a pre-shared key at a listener that has none', 'eclipse-mosquitto/mosquitto#778',
     'nightjar pub', {'says': 'instead of the shared key', 'doctor': 'instead of the shared key'},
     'psk_hint below that listener, or its other port')
def psk_to_certificate(w):
    key = ['--psk-identity', 'sensor', '--psk', KEY]
    w.doctor_args = ['-p', w.port_tls, *key]
    yield w.nightjar, ['-h', 'localhost', '-p', w.port_tls, *key]
    yield w.nightjar, w.psk('sensor', KEY)


@row('a password with the line end of the file it was read from', 'hivemq/mqtt-cli#136',
     'mosquitto_pub', {'log': 'the password is wrong; look where .* line end'}, 'printf in place of echo')
def password_line_end(w):
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret\n']
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret']


@row('a user name with the quotation marks of a .env file', 'schollz/find3#70', 'mosquitto_pub',
     {'log': 'no such user; look where .* quotation mark'}, 'leave them out')
def user_in_quotes(w):
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', '"joe"', '-P', 'secret']
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret']


# -- files of another kind ---------------------------------------------------

def wrong_pair(w, cert=None, key=None):
    pair = cert or w.pki.client[0], key or w.pki.client[1]
    w.subject = list(pair)
    return w.mutual(pair)


@row('the public key as --key', 'everywhere', 'mosquitto_pub',
     {'inspect': 'no use to a broker or client', 'doctor': 'holds a public key'},
     'the .key file of the certificate')
def public_key(w):
    w.openssl('pkey', '-in', w.pki.client[1], '-pubout', '-out', w.path('public.key'))
    yield w.mosquitto, wrong_pair(w, key=w.path('public.key'))
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a client\'s key on the curve of cryptocurrencies (secp256k1)', 'everywhere', 'mosquitto_pub',
     {'doctor': 'not used in TLS', 'inspect': 'not used in TLS'}, 'nightjar ca device ID')
def odd_curve(w):
    pair = w.signed('k1', '/CN=k1', 'extendedKeyUsage=clientAuth\n', key_args=[
        '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'])
    w.subject = list(pair)
    yield w.mosquitto, w.mutual(pair)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a key of ssh-keygen as --key', 'EdJoPaTo/mqttui#140', 'mosquitto_pub',
     {'inspect': 'key for SSH', 'doctor': 'key for SSH'}, 'nightjar ca device ID')
def ssh_key(w):
    key = w.write('ssh.key', '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n'
                             '-----END OPENSSH PRIVATE KEY-----\n')
    yield w.mosquitto, wrong_pair(w, key=key)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a key in DER form as --key', 'hivemq/mqtt-cli#281', 'mosquitto_pub',
     {'inspect': 'is in DER form', 'says_nightjar': 'private key in DER form.*--pem-key'},
     'nightjar inspect --pem-key FILE >NEW')
def der_key(w):
    w.openssl('pkey', '-in', w.pki.client[1], '-outform', 'DER', '-out', w.path('key.der'))
    yield w.mosquitto, wrong_pair(w, key=w.path('key.der'))
    key = w.write('key.pem', w.inspect('--pem-key', w.path('key.der')))
    yield w.mosquitto, w.mutual((w.pki.client[0], key))


@row('PKCS#12 as --cert and --key', 'dist-sys/mqttloader#30', 'mosquitto_pub',
     {'doctor': 'PKCS#12', 'says_nightjar': 'is a PKCS#12 file.*--pem'},
     'nightjar inspect --pem and --pem-key')
def p12_as_pem(w):
    p12, word = w.p12('geheim'), w.write('word', 'geheim\n')
    yield w.mosquitto, wrong_pair(w, p12, p12)
    pair = [w.write(n, w.inspect(o, p12, '--password-file', word))
            for n, o in (('q.crt', '--pem'), ('q.key', '--pem-key'))]
    yield w.mosquitto, w.mutual(pair)


@row('a certificate request as --cert', 'eclipse-mosquitto/mosquitto#1710', 'mosquitto_pub',
     {'inspect': 'is no certificate yet', 'says_nightjar': 'request that no CA has signed',
      'doctor': 'request that no CA has signed'}, 'nightjar ca device ID')
def request_as_certificate(w):
    w.openssl('req', '-new', '-key', w.pki.client[1], '-subj', '/CN=alice', '-out', w.path('c.csr'))
    yield w.mosquitto, wrong_pair(w, w.path('c.csr'))
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a Java keystore as --cafile', 'IBMStreams/streamsx.messaging#215', 'mosquitto_pub',
     {'inspect': 'Java keystore', 'says_nightjar': 'Java keystore'}, 'the ca.crt')
def jks(w):
    bad = w.write('trust.jks', b'\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1' + bytes(60))
    w.subject = [bad]
    yield w.mosquitto, w.tls(cafile=bad)
    yield w.mosquitto, w.tls()


@row('--capath is a folder without hashes', 'baresip/baresip#1308', 'mosquitto_pub',
     {'doctor': 'has a hash for its name.*openssl rehash'}, 'openssl rehash DIR')
def capath(w):
    folder = w.path('capath')
    os.makedirs(folder)
    w.copy(w.pki.ca, 'capath/ca.crt')
    args = w.tls(cafile=None) + ['--capath', folder]
    yield w.mosquitto, args
    w.openssl('rehash', folder)
    yield w.mosquitto, args


# -- the CA is another, or over ----------------------------------------------

@row('ca.crt of a CA that was made anew under the same name', 'equinor/isar#303', 'mosquitto_pub',
     {'doctor': 'made anew', 'log': 'does not trust|our certificate\'s CA differs',
      'says_nightjar': 'made anew'}, 'the new ca.crt')
def namesake(w):
    yield w.mosquitto, w.tls(cafile=w.namesake_ca()[0])
    yield w.mosquitto, w.tls()


@row('a client certificate of the CA that had that name before', 'bytebeamio/rumqtt#86',
     'mosquitto_pub', {'log': 'made anew', 'doctor': 'made anew'}, 'nightjar ca device ID')
def namesake_client(w):
    yield w.mosquitto, w.mutual(w.signed('old', '/CN=old', 'extendedKeyUsage=clientAuth\n',
                                         w.namesake_ca()))
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the CA is over, and what it issued is not', 'eclipse-mosquitto/mosquitto#2692',
     'openssl s_client', {'log': 'renew the CA if that has ended', 'doctor': 'expired on'},
     'nightjar ca roll')
def ca_is_over(w):
    ca = w.short_ca()
    w.serve(w.signed('short', '/CN=localhost', 'extendedKeyUsage=serverAuth\n'
                     'subjectAltName=DNS:localhost,IP:127.0.0.1\n', ca))
    w.doctor_args, w.doctor_days = ['--cafile', ca[0]], 5
    yield w.s_client, ['-CAfile', ca[0], '-attime', str(int(time.time()) + 5 * 86400),
                       '-verify_return_error']
    w.serve(w.pki.server)
    yield w.s_client, ['-verify_return_error']


@row('crlfile is the list of another CA', 'everywhere', 'mosquitto_pub',
     {'log': 'there is no CRL of its issuer', 'doctor': 'there is no CRL of its issuer'},
     'the CRL of the clients\' CA')
def crl_of_another(w):
    w.put(w.pki.server, crl=w.crl_of(w.namesake_ca('/CN=Other CA')))
    assert w.reload()
    yield w.mosquitto, w.mutual(w.pki.client)
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('two certificates of one CA with one serial, and one of them is revoked', 'everywhere',
     'mosquitto_pub', {'log': 'is revoked', 'inspect': 'with one serial number'},
     'openssl: -CAcreateserial; nightjar ca device ID')
def same_serial(w):
    serial, w.serial = w.serial, int('0x' + w.serial_of(w.pki.revoked[0]), 16) - 1
    twin = w.signed('twin', '/CN=twin', 'extendedKeyUsage=clientAuth\n')
    w.serial = serial
    w.subject = [twin[0], w.pki.revoked[0]]
    yield w.mosquitto, w.mutual(twin)
    yield w.mosquitto, w.mutual(w.signed('twin', '/CN=twin', 'extendedKeyUsage=clientAuth\n'))


@row('a client whose name the CA may not give (name constraints)', 'everywhere', 'mosquitto_pub',
     {'log': 'its CA may not give', 'inspect': 'its CA may not give'}, 'a name that it may give')
def name_constraints(w):
    ca = w.signed('fenced', '/CN=Fenced', 'basicConstraints=critical,CA:true\n'
                  'keyUsage=critical,keyCertSign\nnameConstraints=critical,permitted;DNS:example.com\n')
    w.without_crl()
    bad, good = (w.signed(n, '/CN=' + n, 'extendedKeyUsage=clientAuth\n'
                          f'subjectAltName=DNS:{n}\n', ca) for n in ('d.other.org', 'd.example.com'))
    chain = w.join('fenced.pem', bad[0], ca[0])
    w.subject = [chain, '--cafile', w.pki.ca]
    yield w.mosquitto, w.mutual((chain, bad[1]))
    yield w.mosquitto, w.mutual((w.join('fenced.pem', good[0], ca[0]), good[1]))
    w.accepts(w.pki.server)


@row('a wildcard as common name', 'everywhere', 'mosquitto_pub',
     {'log': 'is only a wildcard', 'inspect': 'the broker refuses'}, 'nightjar ca device ID')
def wildcard_client(w):
    pair = w.subject_only('/CN=#')
    w.subject = list(pair)
    yield w.mosquitto, w.mutual(pair)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('more CAs in a row than the path length allows', 'everywhere', 'mosquitto_pub',
     {'log': 'more CAs below it than its path length allows', 'doctor': 'path length'},
     'issue from the CA above')
def path_length(w):
    ca = 'keyUsage=critical,keyCertSign\nbasicConstraints=critical,CA:true'
    first = w.signed('mid0', '/CN=Mid0', ca + ',pathlen:0\n')
    second = w.signed('mid1', '/CN=Mid1', ca + '\n', first)
    leaf = 'extendedKeyUsage=clientAuth\n'
    w.without_crl()
    deep, flat = w.signed('deep1', '/CN=deep1', leaf, second), w.signed('flat', '/CN=flat', leaf, first)
    yield w.mosquitto, w.mutual((w.join('deep.pem', deep[0], second[0], first[0]), deep[1]))
    yield w.mosquitto, w.mutual((w.join('flat.pem', flat[0], first[0]), flat[1]))
    w.accepts(w.pki.server)


# -- where to, and what is in between ----------------------------------------

@row('the scheme of a URL in the host\'s name', 'mqttjs/MQTT.js#1137', 'mosquitto_pub',
     {'says_nightjar': 'write the host alone', 'doctor': 'take that for its name'},
     'the host alone')
def scheme_in_host(w):
    args = ['-h', 'mqtts://localhost', '-p', w.port_tls, '--cafile', w.pki.ca]
    yield w.mosquitto, args
    yield w.mosquitto, w.tls()


@row('the port in the host\'s name', 'dchesterton/texecom2mqtt-hassio#14', 'mosquitto_pub',
     {'says_nightjar': 'give the port apart'}, '-p PORT')
def port_in_host(w):
    yield w.mosquitto, ['-h', f'localhost:{w.port_tls}', '--cafile', w.pki.ca]
    yield w.mosquitto, w.tls()


@row('the listener is bound to another address of the machine',
     'eclipse-mosquitto/mosquitto#1985', 'mosquitto_pub',
     {'doctor': r'listens there on 127\.0\.0\.1 alone'}, 'leave the address out of the listener line')
def other_address(w):
    w.doctor_target, w.doctor_args = '127.0.0.5', ['--cafile', w.pki.ca]
    yield w.mosquitto, ['-h', '127.0.0.5', '-p', w.port_plain]
    yield w.mosquitto, w.plain(w.port_plain)


@row('TLS of a tunnel around the TLS of the client', 'emqx/emqx#3659', 'Python ssl in TLS',
     {'log': 'TLS inside of TLS'}, 'one of the two')
def tls_in_tls(w):
    yield w.python_twice, ['localhost']
    yield w.python, ['localhost']


@row('PROXY protocol 1 from the proxy, 2 at the listener', 'thingsboard/tbmq#322',
     'a proxy\'s header', {'log': 'one of version 1 came'}, 'enable_proxy_protocol 1, or send-proxy-v2')
def proxy_version(w):
    yield w.proxied_v1, [w.port_proxy]
    yield w.proxied, [w.port_proxy]


@row('TLS without the proxy to a listener that waits for it', 'emqx/emqx#932', 'mosquitto_pub',
     {'log': 'TLS came, as from a client that connects directly', 'doctor': 'waits for a PROXY header'},
     'connect to the proxy')
def tls_to_proxy(w):
    yield w.mosquitto, w.tls(port=w.port_proxy)
    yield w.proxied, [w.port_proxy]


@row('WebSocket without the subprotocol mqtt', 'hbmqtt: njouanin/hbmqtt#38', 'curl',
     {'log': 'does not offer the WebSocket subprotocol mqtt'}, 'Sec-WebSocket-Protocol: mqtt')
def no_subprotocol(w):
    yield w.curl_ws, []
    yield w.curl_ws, ['-H', 'Sec-WebSocket-Protocol: mqtt']


@row('wss to a WebSocket listener without TLS', 'mqttjs/MQTT.js#1279', 'curl',
     {'log': 'TLS to a plain WebSocket port'}, 'ws in place of wss, or certfile and keyfile')
def wss_to_ws(w):
    yield w.curl, ['-k', f'https://localhost:{w.port_ws}/']
    yield w.nightjar, w.plain(w.port_ws) + ['--ws']


# -- the broker has the wrong things ----------------------------------------

def server_row(name, seen, words, make, mends, code=None):
    """The broker refuses the file at start and reload, naming the cause."""
    def play(w):
        pair = make(w)
        w.subject = list(pair[:2])
        w.refuses(pair[:2], *pair[2:])
        yield w.reloads, []
        w.accepts(w.pki.server)
        yield w.mosquitto, w.tls()
    play.__name__ = 'server_' + name.split('(')[-1].rstrip(')').replace(' ', '_').replace('-', '')
    says = {'reload': words}
    if code:
        says['inspect'] = code
    row(name, seen, 'the broker, then mosquitto_pub', says, mends)(play)


server_row('certfile is not there (missing)', 'eclipse-mosquitto/mosquitto#2416', 'No such file',
           lambda w: (w.path('none.crt'), w.pki.server[1]), 'check the path', 'No such file')
server_row('keyfile belongs to another certificate (key mismatch)',
           'eclipse-mosquitto/mosquitto#2534', 'is not the key of the certificate',
           lambda w: (w.pki.server[0], w.pki.client[1]), 'the pair that was made together',
           'belongs to none')
server_row('certfile and keyfile exchanged (exchanged)', 'owntracks/tools#6',
           'holds a private key, not a certificate',
           lambda w: (w.pki.server[1], w.pki.server[0]), 'exchange the two lines')
server_row('keyfile has a passphrase (encrypted)', 'seed 1 and 2 (genrsa -des3)', 'is encrypted',
           lambda w: (w.pki.server[0], w.pki.authority.encrypt_key(w.pki.server[1], 'x')),
           'keyfile_password_file', 'encrypted, and was not opened')
server_row('the server\'s certificate has expired (expired)', 'eclipse-mosquitto/mosquitto#2988',
           'expired on 2020',
           lambda w: w.made('oldserver', 'server', '20200101000000Z', '20200201000000Z'),
           'nightjar ca server', 'expired on 2020')
server_row('the server\'s certificate is not valid yet (too early)', 'espressif/esp-at#432',
           'valid only from 2040',
           lambda w: w.made('newserver', 'server', '20400101000000Z', '20410101000000Z'),
           'set the clock', 'valid only from 2040')
server_row('an RSA key of 1024 bits (RSA-1024)', 'seed 3 (rsa:1024)', 'RSA-1024',
           lambda w: w.weak('rsa1024', ['-newkey', 'rsa:1024'], '-sha256'), 'nightjar ca server',
           'RSA-1024')
server_row('signed with SHA-1 (SHA-1)', 'seed 1 (-sha1)', 'signed with SHA-1',
           lambda w: w.weak('sha1', ['-newkey', 'rsa:2048'], '-sha1'), 'nightjar ca server',
           'signed with SHA-1')
server_row('a client\'s certificate as the server\'s (wrong EKU)', 'eclipse-paho/paho.mqtt.c#508',
           'does not allow use as a server', lambda w: w.pki.client, 'nightjar ca server')
server_row('a certificate request as certfile (CSR)', 'eclipse-mosquitto/mosquitto#1710',
           'request that no CA has signed',
           lambda w: (w.pki.authority.path('server.csr'), w.pki.server[1]), 'nightjar ca server',
           'no certificate yet')
server_row('keyfile in DER form (DER key)', 'hivemq/mqtt-cli#281',
           'private key in DER form.*--pem-key',
           lambda w: (w.pki.server[0], w.converted_der(w.pki.server[1])),
           'nightjar inspect --pem-key FILE >NEW', 'is in DER form')
server_row('keyfile holds the public key (public)', 'everywhere', 'holds a public key',
           lambda w: (w.pki.server[0], w.public(w.pki.server[1])), 'the private one',
           'no use to a broker')
server_row('a key on a curve that clients do not know (brainpool)', 'everywhere',
           'on a curve that is not used in TLS',
           lambda w: w.signed('bp', '/CN=localhost', 'subjectAltName=DNS:localhost\n', key_args=[
               '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:brainpoolP256r1']),
           'nightjar ca server', 'on a curve that is not used in TLS')
server_row('a key that spells its curve out (explicit)', 'openssl/openssl#7045',
           'spells its curve out',
           lambda w: w.signed('explicit', '/CN=localhost', 'subjectAltName=DNS:localhost\n', key_args=[
               '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt',
               'ec_param_enc:explicit']), 'nightjar ca server', 'spells its curve out')
server_row('certfile and cafile exchanged (CA exchanged)', 'eclipse-mosquitto/mosquitto#2534',
           r'\(certfile\) holds a CA.s certificate, and .*exchange the two lines',
           lambda w: (w.pki.ca, w.pki.server[1], w.pki.server[0]), 'exchange the two lines')
server_row('a link of certbot that points to nowhere in the container (dead link)',
           'nextcloud/nextcloudpi#584', r'it is a link to \.\./\.\./archive.*whole /etc/letsencrypt',
           lambda w: (w.dead_link(), w.pki.server[1]), 'the whole folder', 'it is a link to')
server_row('an extension marked as critical that nobody knows (critical)', 'bytebeamio/rumqtt#992',
           r'extension 1\.2\.3\.4\.5 marked as critical',
           lambda w: w.named('DNS:localhost\n1.2.3.4.5=critical,ASN1:UTF8String:x'),
           'issue it without that', r'extension 1\.2\.3\.4\.5 marked as critical')
server_row('a PKCS#7 file as certfile (p7b)', 'Windows CAs', 'PKCS#7 file .*inspect --pem',
           lambda w: (w.p7b(w.pki.server[0], w.pki.ca), w.pki.server[1]),
           'nightjar inspect --pem FILE >NEW', 'PKCS#7 file')
server_row('keyfile of openssl ecparam without -genkey (parameters)', 'everywhere',
           'holds no key on it.*-genkey', lambda w: (w.pki.server[0], w.curve_alone()),
           'nightjar ca server', 'holds no key on it')
server_row('the intermediate CA in certfile has expired (old intermediate)',
           "Let's Encrypt, 2021-09-30", "the CA certificate 'Middle' in .* expired.*'Test CA' make it anew",
           lambda w: w.below_intermediate(True, days=-1), 'have the root renew it',
           "certificate 'Middle': it expired")
server_row('the CA first in certfile, the server\'s certificate behind it (order)',
           'emqx/emqx#890', 'wrong order',
           lambda w: (w.join('wrong-order', w.pki.ca, w.pki.server[0]), w.pki.server[1]),
           'nightjar inspect --pem FILE', 'wrong order')
server_row('the CA\'s key and certificate served with (CA as server)', 'seed 3 (cp MiCA.*)',
           'key usage', lambda w: (w.pki.ca, w.pki.authority.path('ca.key')), 'nightjar ca server')


def ca_row(name, seen, words, make, mends, code=None):
    """The same of the CAs of clients."""
    def play(w):
        bad = make(w)
        w.subject = [bad]
        w.refuses_ca(bad)
        yield w.reloads, []
        w.accepts(w.pki.server)
        yield w.mosquitto, w.mutual(w.pki.client)
    play.__name__ = 'ca_' + name.split('(')[-1].rstrip(')').replace(' ', '_').replace('-', '')
    says = {'reload': words}
    if code:
        says['inspect'] = code
    row(name, seen, 'the broker, then mosquitto_pub', says, mends)(play)


ca_row('cafile holds a certificate that is no CA (CA:FALSE)', 'eclipse-mosquitto/mosquitto#3352',
       'not a CA certificate', lambda w: w.pki.client[0], 'the CA\'s certificate')
ca_row('a CA of version 1, signed without its extensions (version 1)',
       'seed 1 (-extensions without -extfile)', 'version 1', lambda w: w.version1_ca(),
       'nightjar ca init', 'version 1')
ca_row('an empty cafile (empty CA)', 'Mosquitto before 2.0.9', 'is empty',
       lambda w: w.write('empty.crt', ''), 'the CA\'s certificate')
ca_row('cafile holds the CA\'s key (CA key)', 'seed 3 (cp MiCA.*)', 'private key',
       lambda w: w.pki.authority.path('ca.key'), 'the CA\'s certificate')


@row('the revocation list has expired', 'OpenVPN/easy-rsa#1231', 'the broker, then mosquitto_pub',
     {'reload': 'revocation list ended', 'inspect': 'ended on'}, 'have the CA write a new one')
def old_crl(w):
    crl = w.old_crl()
    w.subject = [crl]
    w.refuses_crl(crl)
    yield w.reloads, []
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the revocation list in DER form, as a CA\'s address gives it', 'emqx/emqx#17135',
     'the broker, then mosquitto_pub',
     {'reload': 'DER form.*inspect --pem', 'inspect': 'DER form'}, 'nightjar inspect --pem FILE >NEW')
def der_crl(w):
    w.openssl('crl', '-in', w.pki.crl, '-outform', 'DER', '-out', w.path('der.crl'))
    w.subject = [w.path('der.crl')]
    w.refuses_crl(w.path('der.crl'))
    yield w.reloads, []
    w.put(w.pki.server, crl=converted(w, w.path('der.crl')))
    assert w.reload(), w.reloaded
    yield w.mosquitto, w.mutual(w.pki.client)
    w.accepts(w.pki.server)


@row('the CA\'s certificate as crlfile', 'everywhere', 'the broker, then mosquitto_pub',
     {'reload': 'no certificate revocation list, but a certificate'}, 'have the CA write one')
def certificate_as_crl(w):
    w.refuses_crl(w.pki.ca)
    yield w.reloads, []
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('quotation marks around a path', 'everywhere',
     'the broker, then mosquitto_pub', {'reload': 'leave the quotation marks out'}, 'leave them out')
def quoted_path(w):
    w.broker.write_conf(w.conf().replace(f"cafile {w.path('ca.crt')}", f"cafile \"{w.path('ca.crt')}\""))
    yield w.reloads, []
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('a folder as cafile', 'everywhere', 'the broker, then mosquitto_pub',
     {'config': 'Is a directory.*capath'}, 'capath')
def folder_as_ca(w):
    w.broker.write_conf(w.conf().replace(f"cafile {w.path('ca.crt')}", f"cafile {w.folder}"))
    yield w.reloads, []
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('require_certificate without cafile', 'everywhere', 'the broker, then mosquitto_pub',
     {'reload': 'without cafile'}, 'add cafile PATH')
def require_without_ca(w):
    w.refuses_ca(None)
    yield w.reloads, []
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('tls_version tlsv1 in the configuration', 'seed 2 and 3', 'openssl s_client',
     {'config': 'TLS 1.0 was retired', 'log': 'at most TLS 1.0'}, 'delete the line; use a newer client')
def tls_version(w):
    w.add_line('tls_version tlsv1')
    yield w.s_client, ['-tls1', '-cipher', 'ALL:@SECLEVEL=0']
    w.accepts(w.pki.server)
    yield w.s_client, ['-tls1_2']


# -- the broker serves it, and clients refuse it -----------------------------

CLIENTS = {'mosquitto_tls': 'mosquitto_pub', 'python_ca': 'Python ssl', 'python_strict': 'Python ssl as urllib3 sets it, Go'}


def served_row(name, seen, client, says, make, mends, *args):
    def play(w):
        pair, cafile = make(w)
        w.serve(pair)
        w.subject = [pair[0], '--cafile', cafile or w.pki.ca, '--host', 'localhost']
        fn = getattr(w, client)
        w.doctor_args = ['--cafile', cafile or w.pki.ca]
        yield fn, [*args, '--cafile', cafile or w.pki.ca]
        w.serve(w.pki.server)
        yield fn, [*args, '--cafile', w.pki.ca]
    play.__name__ = 'served_' + name.split('(')[-1].rstrip(')').replace(' ', '_').replace('-', '')
    row(name, seen, CLIENTS.get(client, client), says, mends)(play)


served_row('no subject alternative name, only a common name (no SAN)', 'emqx/MQTTX#573',
           'python_strict', {'reload_says': 'no subject alternative name', 'inspect': 'only the common name'},
           lambda w: (w.named('', cn='localhost'), None), 'nightjar ca server')
served_row('an address among the DNS names (DNS:IP)', 'eclipse-paho/paho.mqtt.java#687',
           'python_ca', {'inspect': 'address 127.0.0.1 among its host names'},
           lambda w: (w.named('DNS:127.0.0.1'), None), 'nightjar ca server ADDRESS')
served_row('for another host name (other name)', 'owntracks/recorder#28', 'python_ca',
           {'doctor': 'valid for elsewhere.example', 'inspect': 'valid for elsewhere.example'},
           lambda w: (w.pki.other_name, None), 'nightjar ca server NAME')
served_row('only the last of several subjectAltName lines holds (repeated SAN)',
           'seed 3 (extensiones.txt)', 'python_ca',
           {'doctor': 'valid for futro-s450', 'inspect': 'valid for futro-s450'},
           lambda w: (w.named('IP:127.0.0.1\nsubjectAltName=DNS:localhost\n'
                              'subjectAltName=DNS:futro-s450'), None), 'nightjar ca server NAME')
served_row('the intermediate CA is missing (no intermediate)', 'eclipse-mosquitto/mosquitto#1518',
           'python_ca', {'doctor': 'not among the trusted CAs', 'inspect': 'not among the trusted CAs'},
           lambda w: (w.below_intermediate(False), None), 'send both, in certfile')
served_row('signed by itself, and nobody was given it (self-signed)', 'vernemq/vernemq#1622',
           'python_ca', {'doctor': 'signed by itself', 'inspect': 'signed by itself'},
           lambda w: (w.self_signed(), None), 'nightjar ca init, nightjar ca server')


served_row('a dot behind the host name (trailing dot)', 'everywhere', 'python_ca',
           {'doctor': 'with a dot at its end', 'inspect': 'with a dot at its end'},
           lambda w: (w.named('DNS:localhost.'), None), 'nightjar ca server NAME')
served_row('a name in letters that DNS does not have (IDN)', 'everywhere', 'python_ca',
           {'doctor': 'xn--', 'inspect': 'not in ASCII'},
           lambda w: (w.named('DNS:br\u00fccke.example'), None), 'nightjar ca server xn--...')
served_row('a proxy that looks into TLS shows its own certificate (MITM)', 'everywhere',
           'python_ca', {'doctor': 'something in between shows its own'},
           lambda w: (w.signed('mitm', '/CN=localhost', 'subjectAltName=DNS:localhost,IP:127.0.0.1\n'
                               'extendedKeyUsage=serverAuth\n',
                               w.namesake_ca('/CN=Corporate Proxy CA')), None),
           'have it let this host through')


served_row('a URL in place of a host name (URL as name)', 'everywhere', 'python_ca',
           {'reload_says': "who connects to 'localhost' does not find", 'inspect': 'no scheme, port'},
           lambda w: (w.named('DNS:mqtts://localhost:8883'), None), 'nightjar ca server NAME')
served_row('no host among its names, only a URI (URI alone)', 'everywhere', 'python_ca',
           {'reload_says': r"no host name or address among .*look for 'DNS:'"},
           lambda w: (w.named('URI:mqtts://localhost'), None), 'nightjar ca server NAME')
served_row('extended key usage \'any\' (any use)', 'everywhere', 'mosquitto_tls',
           {'reload_says': "'any' without serverAuth", 'doctor': "is 'any', which OpenSSL does not"},
           lambda w: (w.signed('anyuse', '/CN=localhost', 'extendedKeyUsage=anyExtendedKeyUsage\n'
                               'subjectAltName=DNS:localhost\n'), None), 'nightjar ca server')
served_row('a name that its CA may not give (fenced)', 'everywhere', 'python_ca',
           {'reload_says': r"that its CA 'Fenced' may not give .*every client refuses",
            'doctor': 'its CA may not give'},
           lambda w: (w.fenced_server(), None), 'a name that it may give')


@row('a client\'s certificate whose key may only encrypt (keyEncipherment)', 'everywhere',
     'mosquitto_pub', {'log': 'its key usage lacks digitalSignature',
                       'inspect': r'does not allow TLS \(digitalSignature\)'},
     'nightjar ca device ID')
def key_encipherment(w):
    pair = w.signed('ke', '/CN=ke', 'extendedKeyUsage=clientAuth\nkeyUsage=critical,keyEncipherment\n')
    w.subject = [*pair, '--as', 'client']
    yield w.mosquitto, w.mutual(pair)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the root first in --cert, the client\'s certificate behind it', 'dotnet/MQTTnet#1884',
     'mosquitto_pub', {'says_nightjar': 'wrong order.*--pem', 'doctor': 'wrong order'},
     'nightjar inspect --pem FILE >NEW')
def root_first(w):
    bad = w.join('root-first.pem', w.pki.ca, w.pki.client[0])
    yield w.mosquitto, w.mutual((bad, w.pki.client[1]))
    yield w.mosquitto, w.mutual((converted(w, bad), w.pki.client[1]))


@row('cafile holds the intermediate CA, and not its root', 'eclipse-mosquitto/mosquitto#3352',
     'mosquitto_pub', {'reload_says': "was issued by 'Test CA', which is not there",
                       'log': "put its certificate into the cafile too"}, 'both in cafile')
def intermediate_alone(w):
    leaf, key, _ = w.client_below_intermediate()
    w.broker.write_conf(w.conf(crl=False))
    w.put(w.pki.server, ca=w.path('middle.crt'))
    assert w.reload(), w.reloaded
    yield w.mosquitto, w.mutual((leaf, key))
    w.put(w.pki.server, ca=w.join('both.crt', w.path('middle.crt'), w.pki.ca))
    assert w.reload(), w.reloaded
    yield w.mosquitto, w.mutual((leaf, key))
    w.accepts(w.pki.server)


@row('a root that has expired is sent along', 'AddTrust, 2020-05-30', 'openssl s_client',
     {'reload_says': "the CA certificate 'Test CA' in .* expired on 2020.*take it out",
      'inspect': 'expired on 2020'}, 'take it out of certfile')
def expired_root_sent(w):
    old = w.expired_root()
    w.serve((w.join('addtrust.pem', w.pki.server[0], old), w.pki.server[1]))
    w.subject = [w.path('server.crt')]
    yield w.s_client, ['-CAfile', old, '-verify_return_error']
    w.serve(w.pki.server)
    yield w.s_client, ['-verify_return_error']


hello_row('static_rsa', 'a client that knows only RSA key exchange', 'emqx/emqx#3090',
          r'ciphers with RSA key exchange alone \(AES128-SHA256', 'update the client',
          ['-tls1_2', '-cipher', 'AES128-SHA256'], ['-tls1_2'])


@row('a client that takes RSA certificates alone', 'espressif/esp-mqtt#192', 'openssl s_client',
     {'log': r'takes certificates with an RSA key alone.*further_certificate'},
     'nightjar ca server --rsa, further_certificate')
def rsa_alone(w):
    rsa = ['-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256']
    yield w.s_client, rsa
    pair = w.signed('rsa', '/CN=localhost', 'extendedKeyUsage=serverAuth\n'
                    'subjectAltName=DNS:localhost\n', key_args=['-newkey', 'rsa:2048'])
    w.add_line('further_certificate ' + ' '.join(pair))
    yield w.s_client, rsa
    w.accepts(w.pki.server)


@row('a proxy in between that takes the upgrade to WebSocket away', 'nginx without its three lines',
     'curl', {'log': 'without WebSocket upgrade.*proxy_set_header Upgrade'}, 'proxy_set_header Upgrade')
def upgrade_lost(w):
    yield w.curl_get, []
    yield w.curl_ws, ['-H', 'Sec-WebSocket-Protocol: mqtt']


@row('an address in brackets as host', 'everywhere', 'mosquitto_pub',
     {'says_nightjar': 'without brackets'}, '-h ADDRESS')
def bracketed_host(w):
    yield w.mosquitto, ['-h', '[127.0.0.1]', '-p', w.port_tls, '--cafile', w.pki.ca]
    yield w.mosquitto, w.tls()


@row('a password file that PowerShell wrote', 'everywhere', 'the broker, then mosquitto_pub',
     {'reload': 'is in UTF-16.*iconv'}, 'iconv -f UTF-16 -t UTF-8')
def password_file_utf16(w):
    with open(w.path('passwords'), encoding='ascii') as f:
        good = f.read()
    w.write('passwords', good.encode('utf-16'))
    yield w.reloads, []
    w.write('passwords', good)
    assert w.reload(), w.reloaded
    yield w.mosquitto, w.tls(port=w.port_login) + ['-u', 'joe', '-P', 'secret']


@row('the client\'s chain lacks its intermediate CA', 'emqx/emqx#1941', 'mosquitto_pub',
     {'log': "issued by 'Middle', which is not among"}, 'leaf and intermediate in --cert')
def client_without_intermediate(w):
    leaf, key, chain = w.client_below_intermediate()
    w.without_crl()
    yield w.mosquitto, w.mutual((leaf, key))
    yield w.mosquitto, w.mutual((chain, key))
    w.accepts(w.pki.server)


@row('require_certificate without use_identity_as_username', 'everywhere', 'mosquitto_pub',
     {'log': 'takes no user name from it.*use_identity_as_username true',
      'doctor': 'takes no user name from it'}, 'use_identity_as_username true')
def unused_identity(w):
    w.broker.write_conf(w.conf().replace('use_identity_as_username true\n', '', 1))
    assert w.reload(), w.reloaded
    yield w.mosquitto, w.mutual(w.pki.client)
    w.accepts(w.pki.server)
    yield w.mosquitto, w.mutual(w.pki.client)


@row('the certificate has no name in it (use_identity_as_username)', 'everywhere',
     'mosquitto_pub', {'log': 'certificate says its name|no name|CN'}, 'nightjar ca device ID')
def nameless(w):
    yield w.mosquitto, w.mutual(w.subject_only('/O=Acme'))
    yield w.mosquitto, w.mutual(w.pki.client)


def markdown():
    """docs/mistakes.md."""
    out = [HEAD]
    for i, r in enumerate(ROWS, 1):
        says = '; '.join(f'{who.split("_")[0]}: `{what}`'.replace('|', '\\|')
                         for who, what in r['says'].items())
        out.append(f"| {i} | {r['name'].replace('|', chr(92) + '|')} | {r['seen']} | {r['client']} "
                   f"| {says} | {r['mend_text']} |\n")
    return ''.join(out)


HEAD = '''# Mistakes with TLS and certificates

What people get wrong, collected from issue threads of brokers and client
libraries and from recipes that are copied a lot. Each is made in
`tests/blackbox/test_mistakes.py` with a real client; who is named in the fifth
column names the cause, and the mend in the last one is applied there and works.
This page is written from the same table: `python3 tests/blackbox/mistakes.py`.

*log* is the broker's (and so `nightjar doctor --last`), *reload* what it says at
start and reload, *says* what `nightjar pub` itself says; *config* is `nightjar serve --test-config`; *doctor* and *inspect* are
`nightjar doctor` and `nightjar inspect`. Words are regular expressions.

| | mistake | seen | trips | the cause is named by | mend |
| --- | --- | --- | --- | --- | --- |
'''

if __name__ == '__main__':
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, '..', '..', 'docs', 'mistakes.md'), 'w', encoding='utf-8') as page:
        page.write(markdown())
