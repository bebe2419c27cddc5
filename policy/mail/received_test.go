package mail_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy/mail"
)

// TestWhomAReceivedFieldNames has fields as MTAs and gateways write them: the names and
// addresses are others, the form is theirs.
func TestWhomAReceivedFieldNames(t *testing.T) {
	for _, c := range []struct{ about, value, client, helo string }{
		{"Postfix", "from mail.example.net (mx.example.net [192.0.2.1])\n\tby gw.example.com (Postfix) with ESMTP id 4Xk1\n\tfor <bob@acmecorp.com>; Mon, 19 Jul 2021 19:44:08 +0000 (UTC)", "192.0.2.1", "mail.example.net"},
		{"Postfix with TLS", "from smtp.example.net (unknown [192.0.2.1])\r\n (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n  key-exchange X25519 server-signature RSA-PSS (2048 bits))\r\n (Client CN \"x [198.51.100.9]\", Issuer \"y\" (not verified))\r\n by gw.example.com (Postfix) with ESMTPS id 1; Mon, 19 Jul 2021 19:44:08 +0000", "192.0.2.1", "smtp.example.net"},
		{"Postfix, IPv6", "from mail.example.net (mail.example.net [IPv6:2001:db8::1]) by gw (Postfix) with ESMTP id 1; x", "2001:db8::1", "mail.example.net"},
		{"Postfix, a literal as HELO", "from [198.51.100.7] (unknown [192.0.2.1]) by gw (Postfix) with ESMTP id 1; x", "192.0.2.1", "[198.51.100.7]"},
		{"Sendmail", "from mail.example.net (mail.example.net [192.0.2.1] (may be forged))\n\t(authenticated bits=0)\n\tby gw.example.com (8.17.1/8.17.1) with ESMTPS id 1\n\t(version=TLSv1.3 cipher=X bits=256 verify=NO); Tue, 1 Jul 2025 11:47:54 GMT", "192.0.2.1", "mail.example.net"},
		{"Sendmail with ident", "from mail.example.net (IDENT:root@mail.example.net [192.0.2.1]) by gw (8.9.3/8.9.3) with SMTP id 1; x", "192.0.2.1", "mail.example.net"},
		{"Exchange Online", "from mail.example.net (192.0.2.1) by\n DM6NAM11FT032.mail.protection.outlook.com (10.13.173.93) with Microsoft SMTP\n Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id\n 15.20.4587.18 via Frontend Transport; Mon, 11 Oct 2021 08:32:05 +0000", "192.0.2.1", "mail.example.net"},
		{"Exchange Online, IPv6", "from DB9PR01CA0001.eurprd01.prod.exchangelabs.com\n (2603:10a6:10:1d8::6) by GVXPR08MB10449.eurprd08.prod.outlook.com\n (2603:10a6:150:157::17) with Microsoft SMTP Server (version=TLS1_2,\n cipher=X) id 15.20.8632.22; Fri, 11 Apr 2025 11:08:24 +0000", "2603:10a6:10:1d8::6", "DB9PR01CA0001.eurprd01.prod.exchangelabs.com"},
		{"Exchange, a zone", "from mail.example.net (fe80::1%12) by ex1.corp.local (fe80::2%12) with Microsoft SMTP Server id 15.2.986.36; x", "fe80::1", "mail.example.net"},
		{"Mimecast", "from mail-wm1-f71.example.net (mail-wm1-f71.example.net\n [192.0.2.71]) (Using TLS) by relay.mimecast.com with ESMTP id\n us-mta-78-_yEFJresN4q2RqpA6YoTPQ-1; Sat, 11 Jul 2020 14:44:41 -0400", "192.0.2.71", "mail-wm1-f71.example.net"},
		{"Mimecast with STARTTLS", "from SN4PR2101CU001.outbound.protection.outlook.com\n (mail-southcentralusazon11012052.outbound.protection.outlook.com\n [192.0.2.52]) by relay.mimecast.com with ESMTP with STARTTLS\n (version=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384) id\n usb-mta-34-fdhDgZ9mPuSvFawhfiCbkw-2; Fri, 15 May 2026 09:13:55 -0700", "192.0.2.52", "SN4PR2101CU001.outbound.protection.outlook.com"},
		{"Proofpoint, outside", "from e06smtp05.example.net (e06smtp05.example.net [192.0.2.101])\n        by mx0b-001b2d01.pphosted.com with ESMTP id 2ud5ryb782-1\n        (version=TLSv1.2 cipher=AES256-GCM-SHA384 bits=256 verify=NOT)\n        for <bpf@example.com>; Thu, 15 Aug 2019 08:25:33 -0400", "192.0.2.101", "e06smtp05.example.net"},
		{"Proofpoint, within", "from pps.filterd (m0279866.ppops.net [127.0.0.1])\n by mx0a-0031df01.pphosted.com (8.18.1.2/8.18.1.2) with ESMTP id 5618lCvZ026544;\n Tue, 1 Jul 2025 11:47:54 GMT", "127.0.0.1", "pps.filterd"},
		{"Google", "from mail.example.net (mail.example.net. [192.0.2.1])\r\n        by mx.google.com with ESMTPS id x1-2\r\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n        Sat, 11 Jul 2020 11:44:40 -0700 (PDT)", "192.0.2.1", "mail.example.net"},
		{"Google, IPv6", "from mail.example.net (mail.example.net. [2001:db8:4864:20::b2d]) by mx.google.com with ESMTPS id x; x", "2001:db8:4864:20::b2d", "mail.example.net"},
		{"Exim, the name as HELO", "from mail.example.net ([192.0.2.1])\n by eggs.example.org with esmtps (TLS1.2:ECDHE_RSA_AES_256_GCM_SHA384:256)\n (Exim 4.90_1) (envelope-from <ninad@example.com>) id 1peUZp-0008MH-8B\n for x@example.org; Tue, 21 Mar 2023 01:30:31 -0400", "192.0.2.1", "mail.example.net"},
		{"Exim, another HELO", "from host.example.net ([192.0.2.1] helo=mail.example.net) by eggs with esmtp (Exim 4.96) id 1; x", "192.0.2.1", "mail.example.net"},
		{"Exim, a literal as HELO", "from host.example.net ([192.0.2.1] helo=[198.51.100.7]) by eggs with esmtp (Exim 4.96) id 1; x", "192.0.2.1", "[198.51.100.7]"},
		{"Exim without a name", "from [192.0.2.1] (helo=mail.example.net) by eggs with esmtp (Exim 4.96) id 1; x", "192.0.2.1", "mail.example.net"},
		{"Exim with ports", "from [192.0.2.1] (port=25252 helo=mail.example.net) by eggs with esmtp (Exim 4.96) id 1; x", "192.0.2.1", "mail.example.net"},
		{"Exim with a port behind the address", "from host.example.net ([192.0.2.1]:25252 helo=mail.example.net) by eggs with esmtp (Exim 4.96) id 1; x", "192.0.2.1", "mail.example.net"},
		{"Barracuda", "from mail.example.net (mail.example.net [192.0.2.1]) by barracuda.example.com with ESMTP id 9OZp1jXkq for <bob@acmecorp.com>; Mon, 1 Jun 2020 10:00:00 -0400 (EDT)", "192.0.2.1", "mail.example.net"},
		{"Cisco", "from jhemtmwex3.example.net (HELO exchange.example.net) ([192.0.2.38])\nby ipex1.example.com with ESMTP/TLS/AES128-SHA; 14 Aug 2013 08:59:29\n-0400", "192.0.2.38", "exchange.example.net"},
		{"qmail", "from unknown (HELO mail.example.net) (root@192.0.2.1)\n  by server-12.example.com with SMTP; 20 Jan 2020 08:00:00 -0000", "192.0.2.1", "mail.example.net"},
		{"Postini", "from source ([192.0.2.254]) (using TLSv1) by exprod8mx8.example.com; Wed, 08 Jan 2007 14:39:55 PST", "192.0.2.254", "source"},
		{"ZMailer", "from mx0a-0064b401.example.net ([192.0.2.238]:7430 \"EHLO\n        mx0a-0064b401.example.net\" rhost-flags-OK-OK-OK-OK)\n        by vger.example.org with ESMTP id S230057AbhJMH41 (ORCPT\n        <rfc822;x@example.org>);\n        Wed, 13 Oct 2021 03:56:27 -0400", "192.0.2.238", "mx0a-0064b401.example.net"},
		{"MDaemon", "from mail.example.net [192.0.2.1] by gw.example.com with ESMTP id 1; x", "192.0.2.1", "mail.example.net"},
		{"Domino", "from mail.example.net ([192.0.2.1]) by domino.example.com (Lotus Domino Release 9.0.1) with ESMTP id 2020060110; x", "192.0.2.1", "mail.example.net"},
		{"IPv4 as IPv6", "from mail.example.net (mail.example.net [::ffff:192.0.2.1]) by gw with ESMTP id 1; x", "192.0.2.1", "mail.example.net"},
		{"without a space", "from mail.example.net([192.0.2.1]) by gw with ESMTP id 1; x", "192.0.2.1", "mail.example.net"},
	} {
		got, ok := mail.ReadReceived(" " + c.value)
		if !ok || got != (mail.Received{Client: netip.MustParseAddr(c.client), Helo: c.helo}) {
			t.Errorf("%s: got %+v, %v", c.about, got, ok)
		}
	}
}

func TestAHostThatHandsAMessageOnToItselfNamesNoClient(t *testing.T) {
	if got, ok := mail.ReadReceived(" (qmail 14341 invoked from network); 20 Jan 2020 08:00:00 -0000"); !ok || got != (mail.Received{Handed: true}) {
		t.Errorf("got %+v, %v", got, ok)
	}
}

func TestAReceivedFieldThatMayNameAnotherIsNotRead(t *testing.T) {
	for _, c := range []struct{ about, value string }{
		{"nothing", ""},
		{"made on the host", "(qmail 6338 invoked by uid 399); 14 Aug 2013 07:59:33 -0000"},
		{"made on the host by Postfix", "by gw.example.com (Postfix, from userid 1000) id 1; x"},
		{"no client", "by mail-wm1-f71.google.com with SMTP id y204so11735101wmd.2 for <x@example.org>; x"},
		{"no address", "from mail.example.net by gw with ESMTP id 1; x"},
		{"no address but HELO's", "from [192.0.2.1] by gw with ESMTP id 1; x"},
		{"words", "from mail pickup service by hotmail.com with Microsoft SMTPSVC; x"},
		{"no by", "from mail.example.net (mail.example.net [192.0.2.1]); x"},
		{"the address behind by", "from mail.example.net by gw (gw [192.0.2.1]) with ESMTP id 1; x"},
		{"a HELO with an address", "from x (bank.example [198.51.100.7]) (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"a HELO with an address and by", "from x (bank.example [198.51.100.7]) by y (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"a HELO of two words", "from x [198.51.100.7] (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"a HELO that opens a comment", "from x( (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"a HELO that opens a comment behind an address", "from x (bank.example [198.51.100.7]) by y ( (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"a HELO that ends the field", "from [198.51.100.7] (helo=x) by y; (mail.example.net [192.0.2.1]) by gw with ESMTP id 1; x"},
		{"an address with more behind it", "from x (mail.example.net [192.0.2.1]x) by gw with ESMTP id 1; x"},
		{"too long", "from mail.example.net (mail.example.net [192.0.2.1]) by gw " + strings.Repeat("x ", 2048)},
	} {
		if got, ok := mail.ReadReceived(" " + c.value); ok {
			t.Errorf("%s: got %+v", c.about, got)
		}
	}
}

// FuzzReadReceived holds that what a client calls itself never passes for its address: the
// field is Postfix's for a client at 192.0.2.1.
func FuzzReadReceived(f *testing.F) {
	for _, helo := range []string{"mail.example.net", "[198.51.100.7]", "x (y [198.51.100.7])", "x (y [198.51.100.7]) by z", "(HELO x) (198.51.100.7)", "helo=", "(", "x) (", `"`, `\`, ";", "[198.51.100.7] (helo=x) by y;", "[198.51.100.7] (helo=x) by y ("} {
		f.Add(helo)
	}
	f.Fuzz(func(t *testing.T, helo string) {
		mail.ReadReceived(helo)
		value := " from " + helo + " (mail.example.net [192.0.2.1]) by gw.example.com (Postfix) with ESMTP id 1; Mon, 19 Jul 2021 19:44:08 +0000"
		if got, ok := mail.ReadReceived(value); ok && got.Client.String() != "192.0.2.1" {
			t.Errorf("%q passes for %v", helo, got.Client)
		}
	})
}
